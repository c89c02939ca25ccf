// unpatchify: rows of 2x2 patches, as the head computes them, back to latents.
//
//   tokens  in   compute  [S F h w, 4 C]
//   x       out  f32      [S, F, C, 2 h, 2 w]
//
// Tokens are in the order (slot, frame, row, column); inside a token (ph, pw, c), which is not the order of patchify.
// Step state: none. FLOPs: 0. Bytes: 4 S F C h w elements of compute read, 16 S F C h w bytes written.
// Tuned for nothing: far below a thousandth of a forward. Source: spec 4.3, step 6.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kUnpatchify{
    "unpatchify",
    "x[s, f, c, 2 y + ph, 2 x + pw] = tokens[(s, f, y, x), (ph, pw, c)]",
    {
        {"tokens", Access::kIn, DType::kCompute, "S*F*h*w 4*C"},
        {"x", Access::kOut, DType::kF32, "S F C 2*h 2*w"},
    },
    {},
};

void unpatchify_cpu(const OpArgs& args, ThreadPool& pool);
void unpatchify_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
