// rms_norm: RMS normalisation over the full width, times a weight.
//
//   x       in   compute  [M, d]
//   weight  in   compute  [d]
//   y       out  compute  [M, d]
//   eps     float
//
// Statistics in f32. Step state: none. FLOPs: 4 M d. Bytes (elements of compute): 2 M d + d.
// Tuned for M = 128 to 7200, d = 256 to 5120. Source: spec 4.3, step 4d.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kRmsNorm{
    "rms_norm",
    "y = x / sqrt(mean(x^2) + eps) * weight",
    {
        {"x", Access::kIn, DType::kCompute, "M d"},
        {"weight", Access::kIn, DType::kCompute, "d"},
        {"y", Access::kOut, DType::kCompute, "M d"},
    },
    {{"eps", Attribute::Type::kFloat}},
};

void rms_norm_cpu(const OpArgs& args, ThreadPool& pool);
void rms_norm_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
