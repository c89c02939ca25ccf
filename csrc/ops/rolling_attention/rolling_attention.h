// rolling_attention: attention of a chunk over the valid part of the rolling cache.
//
//   q            in   compute  [S N, H D]
//   k_cache      in   compute  [S, K T, H, D]
//   v_cache      in   compute  [S, K T, H, D]
//   ring_length  in   i32      [S]             valid frames of each slot, 1 .. K
//   out          out  compute  [S N, H D]
//   frame_tokens = T
//
// Softmax over exactly the tokens [0, ring_length[s] T) of the slot, scale 1/sqrt(D), no mask. The cache beyond is
// never read: it may hold anything. With L_s = ring_length[s] T:
// Step state: reads ring_length. FLOPs: 4 N H D sum_s(L_s). Bytes (elements of compute): 2 S N H D + 2 H D sum_s(L_s).
// Tuned for D = 128, N = 1024 to 3600, L = 6 N. Source: spec 4.3, step 4c; 2.5.2.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kRollingAttention{
    "rolling_attention",
    "out[s] = softmax(q[s] k_cache[s, :L]^T / sqrt(D)) v_cache[s, :L], L = ring_length[s] T",
    {
        {"q", Access::kIn, DType::kCompute, "S*N H*D"},
        {"k_cache", Access::kIn, DType::kCompute, "S K*T H D"},
        {"v_cache", Access::kIn, DType::kCompute, "S K*T H D"},
        {"ring_length", Access::kIn, DType::kI32, "S"},
        {"out", Access::kOut, DType::kCompute, "S*N H*D"},
    },
    {{"frame_tokens", Attribute::Type::kInt, "T"}},
};

void rolling_attention_cpu(const OpArgs& args, ThreadPool& pool);
void rolling_attention_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
