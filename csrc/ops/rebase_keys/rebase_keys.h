// rebase_keys: moves the cached keys to other temporal positions when the positions of a stream start again.
//
//   k_cache     inout  compute  [S, K T, H, D]
//   rope        in     f32      [P, D]          row p: cos, sin of every pair at position p, temporal pairs first
//   rebase      in     i32      [S]             what is added to the rolling positions; 0 leaves the slot as it is
//   sink_shift  inout  i32      [S, Z]          temporal position of what lies in sink j, less j; 0 where it is absent
//   frame_tokens = T, sinks = Z
//
// R(p + a) = R(a) R(p): the temporal pairs of frames Z .. K - 1 are turned by the angles of `rebase`, in place. Sinks
// belong at positions 0 .. Z - 1: sink j is turned by -sink_shift[j], which becomes 0. The row and column pairs and the
// values have nothing to change. When rebase is not 0, which is once in 45 chunks, and all sinks were replaced:
// Step state: reads rebase, updates sink_shift. FLOPs: 3 S K T H D_t, with D_t = D - 4 (D / 6) temporal components.
// Bytes (elements of compute): 2 S K T H D_t. Tuned for nothing. Source: spec 2.6.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kRebaseKeys{
    "rebase_keys",
    "where rebase[s] != 0: k_cache[s, Z T:] = temporal rotation by rebase[s] of k_cache[s, Z T:]; sink j is turned by "
    "-sink_shift[s, j], which becomes 0",
    {
        {"k_cache", Access::kInOut, DType::kCompute, "S K*T H D"},
        {"rope", Access::kIn, DType::kF32, "P D"},
        {"rebase", Access::kIn, DType::kI32, "S"},
        {"sink_shift", Access::kInOut, DType::kI32, "S Z", true},
    },
    {
        {"frame_tokens", Attribute::Type::kInt, "T"},
        {"sinks", Attribute::Type::kInt, "Z", {}, 0},
    },
    [](const Symbols& symbols) -> std::string {
      if (symbols.at("D") % 2) return "the head dimension must be even";
      return symbols.at("Z") < symbols.at("K") ? "" : "there must be fewer sinks than cache frames";
    },
};

void rebase_keys_cpu(const OpArgs& args, ThreadPool& pool);
void rebase_keys_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
