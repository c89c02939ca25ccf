// gemm: a linear layer, y = act(x W^T + b).
//
//   x       in   compute [M, K]
//   weight  in   compute [N, K]   as published, one row per output
//   bias    in   compute [N]      optional
//   y       out  compute [M, N]
//   activation  "none" or "gelu_tanh": 0.5 y (1 + tanh(sqrt(2/pi) (y + 0.044715 y^3)))
//
// Accumulates, adds the bias and applies the activation in f32.
// Step state: none. FLOPs: 2 M N K. Bytes (elements of compute): M K + N K + M N.
// Tuned for M = 1024 to 7200 tokens, or 128 to 512 text rows, and N, K = 256 to 13824. Source: spec 4.3.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kGemm{
    "gemm",
    "y = act(x W^T + b)",
    {
        {"x", Access::kIn, DType::kCompute, "M K"},
        {"weight", Access::kIn, DType::kCompute, "N K"},
        {"bias", Access::kIn, DType::kCompute, "N", true},
        {"y", Access::kOut, DType::kCompute, "M N"},
    },
    {{"activation", Attribute::Type::kChoice, "", {"none", "gelu_tanh"}}},
};

void gemm_cpu(const OpArgs& args, ThreadPool& pool);
void gemm_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
