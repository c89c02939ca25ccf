// advance_frames: counts the new frames of a call, after the ops that read and wrote them (engine/frames.h).
//
//   frame  inout  i64  [1]
//   count  how many
//
// A count that no longer fits is an error, and nothing is changed. Step state: reads and writes frame. FLOPs: none
// worth counting. Bytes: 16. Tuned for nothing. Source: spec 4.6, streaming cache.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kAdvanceFrames{
    "advance_frames",
    "frame += count",
    {{"frame", Access::kInOut, DType::kI64, "1"}},
    {{"count", Attribute::Type::kInt}},
};

void advance_frames_cpu(const OpArgs& args, ThreadPool& pool);
void advance_frames_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
