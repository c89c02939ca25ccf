// quantize_cache: the rolling cache in 8 bits, for rolling_attention_fp8.
//
//   k_cache, v_cache  in     compute  [S, K T, H, D]
//   ring_write        in     i32      [S]               cache frame of the newest chunk, 0 .. K - F
//   ring_length       in     i32      [S]               valid frames, 1 .. K
//   rebase            in     i32      [S]               not 0: the cached keys have moved (rebase_keys)
//   k_codes           inout  u8       [S, K, H, 128 B, D]  e4m3 bits of (k - k_mean) / k_scale
//   v_codes           inout  u8       [S, K, H, D, 128 B]  e4m3 bits of v / v_scale, a channel's keys side by side
//   k_mean            inout  f32      [S, K, H, D]      mean of each channel over the keys of a frame
//   k_scale, v_scale  inout  f32      [S, K, H, B]      powers of two, of every 128 keys
//   frames = F, frame_tokens = T, B = ceil(T / 128)
//
// Only the newest chunk's frames change, and all valid ones where rebase is not 0. Keys are smoothed: a channel's mean
// over a frame is taken off, because an 8-bit float's error is a share of its value, and channels with large means
// would bring theirs into every score. It is exact: q . k = q . (k - m) + q . m, and attention adds the second term,
// one number for each query and frame. As every frame has its own mean, old frames stay as they are. A scale is the
// smallest power of two that brings 128 keys of a head below 448, so that scaling rounds nothing. The codes behind a
// frame's last key are 0. Values are transposed, as FP8 products of Hopper's tensor cores want keys contiguous.
//
// Step state: reads ring_write, ring_length, rebase. FLOPs: 6 S F T H D. Bytes, e being those of compute: S F T H D
// (3 e + 2): keys are read twice. Source: SageAttention (arXiv 2410.02367), smoothing and scales by block; 2.5 of the
// spec for the ring.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

constexpr int64_t kQuantizedBlock = 128;  // keys with one scale

// Of the symbols B and T.
inline std::string check_quantized_blocks(const Symbols& symbols) {
  const int64_t tokens = symbols.at("T");
  return symbols.at("B") == (tokens + kQuantizedBlock - 1) / kQuantizedBlock
             ? ""
             : "the codes of a frame must have its tokens, rounded up to a multiple of 128";
}

inline const OpContract kQuantizeCache{
    "quantize_cache",
    "new frames f: k_mean = mean_t k[f, t]; k_codes = e4m3((k - k_mean) / k_scale), v_codes = e4m3(v / v_scale)^T",
    {
        {"k_cache", Access::kIn, DType::kCompute, "S K*T H D"},
        {"v_cache", Access::kIn, DType::kCompute, "S K*T H D"},
        {"ring_write", Access::kIn, DType::kI32, "S"},
        {"ring_length", Access::kIn, DType::kI32, "S"},
        {"rebase", Access::kIn, DType::kI32, "S"},
        {"k_codes", Access::kInOut, DType::kU8, "S K H 128*B D"},
        {"v_codes", Access::kInOut, DType::kU8, "S K H D 128*B"},
        {"k_mean", Access::kInOut, DType::kF32, "S K H D"},
        {"k_scale", Access::kInOut, DType::kF32, "S K H B"},
        {"v_scale", Access::kInOut, DType::kF32, "S K H B"},
    },
    {
        {"frames", Attribute::Type::kInt, "F"},
        {"frame_tokens", Attribute::Type::kInt, "T"},
    },
    [](const Symbols& symbols) -> std::string {
      if (symbols.at("F") > symbols.at("K")) return "a chunk's frames do not fit into the cache";
      return check_quantized_blocks(symbols);
    },
};

void quantize_cache_cpu(const OpArgs& args, ThreadPool& pool);
void quantize_cache_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
