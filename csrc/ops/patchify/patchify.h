// patchify: latents to rows of 2x2 patches, ready for the patch-embedding gemm.
//
//   x       in   f32      [S, F, C, 2 h, 2 w]
//   tokens  out  compute  [S F h w, 4 C]
//
// Tokens are in the order (slot, frame, row, column); inside a token (c, ph, pw), the order of a flattened Conv3d
// weight [d, C, 1, 2, 2]. Step state: none. FLOPs: 0. Bytes: 16 S F C h w read, 4 S F C h w elements of compute
// written. Tuned for nothing: far below a thousandth of a forward. Source: spec 4.3, step 1.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kPatchify{
    "patchify",
    "tokens[(s, f, y, x), (c, ph, pw)] = x[s, f, c, 2 y + ph, 2 x + pw]",
    {
        {"x", Access::kIn, DType::kF32, "S F C 2*h 2*w"},
        {"tokens", Access::kOut, DType::kCompute, "S*F*h*w 4*C"},
    },
    {},
};

void patchify_cpu(const OpArgs& args, ThreadPool& pool);
void patchify_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
