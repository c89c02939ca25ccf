// latents_to_tensor: latents to the frames that a video decoder reads.
//
//   latents  in   f32      [F, C, y, x]
//   mean     in   f32      [C]            optional, with std
//   std      in   f32      [C]            optional, with mean
//   y        out  compute  [B, y, x, C]   B frames, a ring if y_frame is given (engine/frames.h)
//   y_frame  in   i64      [1]            optional: frames seen before this call
//   clamp    "none", or "tanh3": 3 tanh(v / 3)
//
//   y[f, row, column, c] = clamp(latents[f, c, row, column] std[c] + mean[c])
// In f32. Step state: reads y_frame. FLOPs: 2 F C y x, and a tanh. Bytes: 4 F C y x read, F C y x elements of compute
// written. Tuned for nothing: far below a thousandth of a decoder. Source: spec 4.6, 4.7.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kLatentsToTensor{
    "latents_to_tensor",
    "y = clamp(latents * std + mean), channels last",
    {
        {"latents", Access::kIn, DType::kF32, "F C y x"},
        {"mean", Access::kIn, DType::kF32, "C", true},
        {"std", Access::kIn, DType::kF32, "C", true},
        {"y", Access::kOut, DType::kCompute, "B y x C"},
        {"y_frame", Access::kIn, DType::kI64, "1", true},
    },
    {{"clamp", Attribute::Type::kChoice, "", {"none", "tanh3"}}},
};

void latents_to_tensor_cpu(const OpArgs& args, ThreadPool& pool);
void latents_to_tensor_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
