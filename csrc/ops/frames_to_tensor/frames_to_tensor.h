// frames_to_tensor: 8-bit frames to the numbers that a video encoder reads.
//
//   frames   in   u8       [T, Y, X, 3]
//   y        out  compute  [B, Y, X, 3]   B frames, a ring if y_frame is given (engine/frames.h)
//   y_frame  in   i64      [1]            optional: frames seen before this call
//   range    "signed": y = v / 127.5 - 1, from -1 to 1; "unit": y = v / 255, from 0 to 1
//
// Step state: reads y_frame. FLOPs: 6 T Y X. Bytes: 3 T Y X read, 3 T Y X elements of compute written.
// Tuned for nothing: far below a thousandth of an encoder. Source: spec 2.7, 4.7.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kFramesToTensor{
    "frames_to_tensor",
    "y = v / 127.5 - 1, or v / 255",
    {
        {"frames", Access::kIn, DType::kU8, "T Y X 3"},
        {"y", Access::kOut, DType::kCompute, "B Y X 3"},
        {"y_frame", Access::kIn, DType::kI64, "1", true},
    },
    {{"range", Attribute::Type::kChoice, "", {"signed", "unit"}}},
};

void frames_to_tensor_cpu(const OpArgs& args, ThreadPool& pool);
void frames_to_tensor_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
