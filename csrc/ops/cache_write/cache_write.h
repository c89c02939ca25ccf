// cache_write: puts a chunk's keys and values into the rolling cache.
//
//   k, v              in     compute  [S, F T, H, D]
//   ring_write        in     i32      [S]              cache frame that takes the chunk's first frame, 0 .. K - F
//   k_cache, v_cache  inout  compute  [S, K T, H, D]
//   frames = F, frame_tokens = T
//
// For chunks whose place depends on their keys and values; all others are written by qk_norm_rope_cache at once.
// Step state: reads ring_write. FLOPs: 0. Bytes (elements of compute): 4 S F T H D. Tuned for nothing: a copy.
// Source: spec 2.5.2.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kCacheWrite{
    "cache_write",
    "k_cache[s, ring_write[s] + f] = k[s, f]; v_cache likewise = v",
    {
        {"k", Access::kIn, DType::kCompute, "S F*T H D"},
        {"v", Access::kIn, DType::kCompute, "S F*T H D"},
        {"ring_write", Access::kIn, DType::kI32, "S"},
        {"k_cache", Access::kInOut, DType::kCompute, "S K*T H D"},
        {"v_cache", Access::kInOut, DType::kCompute, "S K*T H D"},
    },
    {
        {"frames", Attribute::Type::kInt, "F"},
        {"frame_tokens", Attribute::Type::kInt, "T"},
    },
    [](const Symbols& symbols) -> std::string {
      return symbols.at("F") <= symbols.at("K") ? "" : "a chunk's frames do not fit into the cache";
    },
};

void cache_write_cpu(const OpArgs& args, ThreadPool& pool);
void cache_write_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
