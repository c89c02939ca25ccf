// layernorm_modulate: LayerNorm without weights, then the shift and scale of each slot.
//
//   x      in   compute  [M, d]
//   shift  in   compute  [S, d]
//   scale  in   compute  [S, d]
//   y      out  compute  [M, d]
//   eps    float
//
// Row m belongs to slot m / (M / S). Statistics in f32; the variance is the mean of squared differences from the mean.
// Step state: none. FLOPs: 9 M d. Bytes (elements of compute): 2 M d + 2 S d.
// Tuned for M = 1024 to 7200, d = 256 to 5120. Source: spec 4.3, steps 4a, 4e and 5.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kLayernormModulate{
    "layernorm_modulate",
    "y = LN(x) * (1 + scale[s]) + shift[s]",
    {
        {"x", Access::kIn, DType::kCompute, "M d"},
        {"shift", Access::kIn, DType::kCompute, "S d"},
        {"scale", Access::kIn, DType::kCompute, "S d"},
        {"y", Access::kOut, DType::kCompute, "M d"},
    },
    {{"eps", Attribute::Type::kFloat}},
    [](const Symbols& symbols) -> std::string {
      const int64_t slots = symbols.at("S");
      return slots < 1 || symbols.at("M") % slots ? "the rows M must divide evenly into S slots" : "";
    },
};

void layernorm_modulate_cpu(const OpArgs& args, ThreadPool& pool);
void layernorm_modulate_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
