// tensor_to_latents: a video encoder's output to latents.
//
//   x        in   compute  [A, y, x, C]   A frames, a ring if x_frame is given (engine/frames.h)
//   x_frame  in   i64      [1]            optional: frames seen before this call
//   mean     in   f32      [C]            optional, with std
//   std      in   f32      [C]            optional, with mean
//   latents  out  f32      [F, C, y, x]
//
//   latents[f, c, row, column] = (x[f, row, column, c] - mean[c]) / std[c], or x as it is
// In f32. Step state: reads x_frame. FLOPs: 2 F C y x. Bytes: F C y x elements of compute read, 4 F C y x written.
// Tuned for nothing: far below a thousandth of an encoder. Source: spec 4.6 and 1, fact 3.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kTensorToLatents{
    "tensor_to_latents",
    "latents = (x - mean) / std, channels first",
    {
        {"x", Access::kIn, DType::kCompute, "A y x C"},
        {"x_frame", Access::kIn, DType::kI64, "1", true},
        {"mean", Access::kIn, DType::kF32, "C", true},
        {"std", Access::kIn, DType::kF32, "C", true},
        {"latents", Access::kOut, DType::kF32, "F C y x"},
    },
    {},
};

void tensor_to_latents_cpu(const OpArgs& args, ThreadPool& pool);
void tensor_to_latents_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
