// noise_mix: mixes noise into encoded latents, the input of slot 0.
//
//   latents      in   f32  [F, C, y, x]
//   noise        in   f32  [F, C, y, x]   optional
//   noise_given  in   i32  [1]            optional: 0 says to ignore `noise`
//   noise_scale  in   f32  [1]            s
//   seed         in   u64  [1]
//   row_chunk    in   i64  [S]            chunk of every slot; element 0 is read
//   x            out  f32  [1, F, C, y, x]
//
// eps is `noise` if given, else the Philox normals of (seed, row_chunk[0], slot 0, purpose input, element), as in
// engine/philox.h.
// Step state: reads noise_given, noise_scale, seed, row_chunk. FLOPs: 3 F C y x, and about 50 per drawn number.
// Bytes: 8 to 12 F C y x. Tuned for nothing: far below a thousandth of a forward. Source: spec 2.7, 4.5.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kNoiseMix{
    "noise_mix",
    "x = s * eps + (1 - s) * latents, s = noise_scale",
    {
        {"latents", Access::kIn, DType::kF32, "F C y x"},
        {"noise", Access::kIn, DType::kF32, "F C y x", true},
        {"noise_given", Access::kIn, DType::kI32, "1", true},
        {"noise_scale", Access::kIn, DType::kF32, "1"},
        {"seed", Access::kIn, DType::kU64, "1"},
        {"row_chunk", Access::kIn, DType::kI64, "S"},
        {"x", Access::kOut, DType::kF32, "1 F C y x"},
    },
    {},
};

void noise_mix_cpu(const OpArgs& args, ThreadPool& pool);
void noise_mix_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
