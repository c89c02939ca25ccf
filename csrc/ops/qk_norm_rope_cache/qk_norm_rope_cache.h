// qk_norm_rope_cache: RMS normalisation of q and k over the full width, 3-D rotary positions, and the write of q and of
// this chunk's k and v into the rolling cache.
//
//   qkv             in     compute  [S F h w, 3 H D]   q, k and v side by side
//   norm_q          in     compute  [H D]
//   norm_k          in     compute  [H D]
//   rope            in     f32      [P, D]             row p: cos, sin of pair 0, cos, sin of pair 1, ...
//   frame_position  in     i32      [S]                position of the chunk's first frame, 0 .. P - F
//   ring_write      in     i32      [S]                cache frame that takes the chunk's first frame, 0 .. K - F
//   q               out    compute  [S F h w, H D]
//   k_cache         inout  compute  [S, K T, H, D]
//   v_cache         inout  compute  [S, K T, H, D]
//   frames = F, height = h, width = w, frame_tokens = T = h w;  eps  float
//
// Pairs are adjacent components (2j, 2j + 1) of each head: first D/2 - 2 (D/6) temporal pairs, then D/6 for the row
// and D/6 for the column. Row p of the table holds the angles of every pair at position p of its own axis; a token
// takes the temporal pairs of row frame_position[s] + f, the row pairs of row y and the column pairs of row x.
// k and v of frame f go to the tokens of cache frame ring_write[s] + f; nothing else in the cache changes.
// Step state: reads frame_position, ring_write. FLOPs: 14 S F h w H D. Bytes: 6 S F h w H D elements of compute, and
// the table. Tuned for h w = 1024 to 3600, H D = 256 to 5120. Source: spec 4.3, steps 4b and 4c; 4.4; 2.5.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kQkNormRopeCache{
    "qk_norm_rope_cache",
    "q = rope(rms(q) * norm_q); k_cache[s, ring_write[s] + f] = rope(rms(k) * norm_k); v_cache likewise = v",
    {
        {"qkv", Access::kIn, DType::kCompute, "S*F*h*w 3*H*D"},
        {"norm_q", Access::kIn, DType::kCompute, "H*D"},
        {"norm_k", Access::kIn, DType::kCompute, "H*D"},
        {"rope", Access::kIn, DType::kF32, "P D"},
        {"frame_position", Access::kIn, DType::kI32, "S"},
        {"ring_write", Access::kIn, DType::kI32, "S"},
        {"q", Access::kOut, DType::kCompute, "S*F*h*w H*D"},
        {"k_cache", Access::kInOut, DType::kCompute, "S K*T H D"},
        {"v_cache", Access::kInOut, DType::kCompute, "S K*T H D"},
    },
    {
        {"frames", Attribute::Type::kInt, "F"},
        {"height", Attribute::Type::kInt, "h"},
        {"width", Attribute::Type::kInt, "w"},
        {"frame_tokens", Attribute::Type::kInt, "T"},
        {"eps", Attribute::Type::kFloat},
    },
    [](const Symbols& symbols) -> std::string {
      const auto dim = [&](const char* symbol) { return symbols.at(symbol); };
      if (dim("T") != dim("h") * dim("w")) return "frame_tokens must be height * width";
      if (dim("D") % 2) return "the head dimension D must be even";
      if (dim("F") > dim("K")) return "a chunk of F frames does not fit into a cache of K frames";
      if (dim("h") > dim("P") || dim("w") > dim("P") || dim("F") > dim("P"))
        return "the rotary table has fewer positions P than there are frames, rows or columns";
      return "";
    },
};

void qk_norm_rope_cache_cpu(const OpArgs& args, ThreadPool& pool);
void qk_norm_rope_cache_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
