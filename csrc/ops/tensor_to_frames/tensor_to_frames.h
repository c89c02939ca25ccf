// tensor_to_frames: a video decoder's output to 8-bit frames.
//
//   x        in   compute  [A, Y, X, 3]   A frames, a ring if x_frame is given (engine/frames.h)
//   x_frame  in   i64      [1]            optional: frames seen before this call
//   frames   out  u8       [F, Y, X, 3]   F = T - skip
//   frames = T new frames of x, of which the first skip are dropped
//   range    "signed": v = (x + 1) 127.5; "unit": v = 255 x
//
// v is clamped to [0, 255] and rounded to the nearest integer, to even at a tie; NaN gives 0.
// Step state: reads x_frame. FLOPs: 15 F Y X. Bytes: 3 F Y X elements of compute read, 3 F Y X written.
// Tuned for nothing: far below a thousandth of a decoder. Source: spec 4.6, 4.7.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kTensorToFrames{
    "tensor_to_frames",
    "frames = round(clamp((x + 1) 127.5, 0, 255)), or of 255 x",
    {
        {"x", Access::kIn, DType::kCompute, "A Y X 3"},
        {"x_frame", Access::kIn, DType::kI64, "1", true},
        {"frames", Access::kOut, DType::kU8, "F Y X 3"},
    },
    {
        {"frames", Attribute::Type::kInt, "T"},
        {"skip", Attribute::Type::kInt, "skip", {}, 0},
        {"range", Attribute::Type::kChoice, "", {"signed", "unit"}},
    },
    [](const Symbols& symbols) -> std::string {
      return symbols.at("F") + symbols.at("skip") == symbols.at("T")
                 ? ""
                 : "the output must have as many frames as are read and not skipped";
    },
};

void tensor_to_frames_cpu(const OpArgs& args, ThreadPool& pool);
void tensor_to_frames_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
