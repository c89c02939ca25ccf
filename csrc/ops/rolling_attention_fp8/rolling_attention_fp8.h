// rolling_attention_fp8: rolling_attention in 8 bits, over a cache that quantize_cache has prepared.
//
//   q                 in   compute  [S N, H D]
//   k_codes           in   u8       [S, K, H, 128 B, D]  e4m3, see quantize_cache.h
//   v_codes           in   u8       [S, K, H, D, 128 B]
//   k_mean            in   f32      [S, K, H, D]
//   k_scale, v_scale  in   f32      [S, K, H, B]
//   ring_length       in   i32      [S]             valid frames of each slot, 1 .. K
//   out               out  compute  [S N, H D]
//   frame_tokens = T, B = ceil(T / 128)
//
// For query i of a head and key j, in block b of frame f:
//
//   score = (q_scale[i] k_scale[b] (q_codes[i] . k_codes[j]) + q[i] . k_mean[f]) / sqrt(D)
//   out   = sum_b v_scale[b] sum_j e4m3(256 w[i, j]) v_codes[j] / sum_j 256 w[i, j]
//
// with w = exp(score - the largest score so far), q_codes = e4m3(q / q_scale) and q_scale the smallest power of two
// that brings the query below 448. Both products are of 8-bit floats and summed in f32; means and totals are exact.
// Weights are at most 1: 256 is their fixed scale, and what is below 2^-17 of the largest is lost. Step state: reads
// ring_length. FLOPs: 4 N H D sum_s(L_s), at twice the rate of bf16. Bytes: 2 S N H D elements of compute, 2 H D
// sum_s(L_s). Source: SageAttention2 (arXiv 2411.10958); spec 4.3, step 4c.
#pragma once

#include "engine/op.h"
#include "ops/quantize_cache/quantize_cache.h"

namespace penstock::ops {

inline const OpContract kRollingAttentionFp8{
    "rolling_attention_fp8",
    "out[s] = softmax(q[s] k[s]^T / sqrt(D)) v[s] over ring_length[s] frames, all factors of the products in e4m3",
    {
        {"q", Access::kIn, DType::kCompute, "S*N H*D"},
        {"k_codes", Access::kIn, DType::kU8, "S K H 128*B D"},
        {"v_codes", Access::kIn, DType::kU8, "S K H D 128*B"},
        {"k_mean", Access::kIn, DType::kF32, "S K H D"},
        {"k_scale", Access::kIn, DType::kF32, "S K H B"},
        {"v_scale", Access::kIn, DType::kF32, "S K H B"},
        {"ring_length", Access::kIn, DType::kI32, "S"},
        {"out", Access::kOut, DType::kCompute, "S*N H*D"},
    },
    {{"frame_tokens", Attribute::Type::kInt, "T"}},
    check_quantized_blocks,
};

void rolling_attention_fp8_cpu(const OpArgs& args, ThreadPool& pool);
void rolling_attention_fp8_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
