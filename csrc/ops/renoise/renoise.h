// renoise: the clean estimate of every slot, and the input of the next denoising step of each.
//
//   x            inout  f32  [S, F, C, y, x]
//   flow         in     f32  [S, F, C, y, x]   the model's output, eps - x0
//   sigma        in     f32  [S]
//   next_sigma   in     f32  [R]               optional
//   noise        in     f32  [R, F, C, y, x]   optional
//   noise_given  in     i32  [1]               optional: 0 says to ignore `noise`
//   seed         in     u64  [1]
//   row_chunk    in     i64  [S]               chunk of every slot
//   x0           out    f32  [S, F, C, y, x]
//   advance      "shift": x_{i+1} = (1 - next_sigma_i) x0_i + next_sigma_i eps_i for i = 0 .. R - 1, R = S - 1;
//                         x_0 stays; with S = 1, next_sigma is absent;
//                "stay":  x_i = the same, R = S;
//                "none":  x stays
//   first_step   denoising step of slot 0: it names the draw
//
// eps is `noise` if given, else the Philox normals of (seed, row_chunk[i], slot first_step + i, purpose renoise,
// element), as in engine/philox.h. Everything in f32.
// Step state: reads sigma, next_sigma, noise_given, seed, row_chunk. FLOPs: (2 S + 3 R) F C y x, and about 50 per drawn
// number. Bytes: (12 S + 4 to 8 R) F C y x. Tuned for nothing: far below a thousandth of a forward.
// Source: spec 4.5, 2.2.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kRenoise{
    "renoise",
    "x0 = x - sigma * flow; x' = (1 - next_sigma) * x0 + next_sigma * eps, of the next slot or of the same",
    {
        {"x", Access::kInOut, DType::kF32, "S F C y x"},
        {"flow", Access::kIn, DType::kF32, "S F C y x"},
        {"sigma", Access::kIn, DType::kF32, "S"},
        {"next_sigma", Access::kIn, DType::kF32, "R", true},
        {"noise", Access::kIn, DType::kF32, "R F C y x", true},
        {"noise_given", Access::kIn, DType::kI32, "1", true},
        {"seed", Access::kIn, DType::kU64, "1"},
        {"row_chunk", Access::kIn, DType::kI64, "S"},
        {"x0", Access::kOut, DType::kF32, "S F C y x"},
    },
    {
        {"advance", Attribute::Type::kChoice, "", {"shift", "stay", "none"}},
        {"first_step", Attribute::Type::kInt, "", {}, 0},
    },
};

void renoise_cpu(const OpArgs& args, ThreadPool& pool);
void renoise_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
