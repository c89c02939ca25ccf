// spatial_attention: attention inside every frame, with one head as wide as the channels.
//
//   qkv  in   compute  [T N, 3 C]   per token q, k and v
//   out  out  compute  [T N, C]
//   frames = T
//
// Softmax over the N tokens of the same frame, scale 1/sqrt(C). Step state: none. FLOPs: 4 T N^2 C. Bytes (elements of
// compute): 4 T N C. Tuned for C = 384, N = 4096 to 6240, T = 1. Source: spec 4.6, middle block.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kSpatialAttention{
    "spatial_attention",
    "out[t] = softmax(q[t] k[t]^T / sqrt(C)) v[t]",
    {
        {"qkv", Access::kIn, DType::kCompute, "T*N 3*C"},
        {"out", Access::kOut, DType::kCompute, "T*N C"},
    },
    {{"frames", Attribute::Type::kInt, "T"}},
};

void spatial_attention_cpu(const OpArgs& args, ThreadPool& pool);
void spatial_attention_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
