// motion_noise: the noise level of a chunk from how much its frames move.
//
//   frames           in     u8   [T, Y, X, 3]
//   previous         inout  u8   [1, Y, X, 3]   last frame of the chunk before; becomes the last of this one
//   level_bits       inout  i64  [1]            the running level s as the bits of a double; 0 before the first chunk
//   initial_scale    in     f32  [1]            s_init, 0.1 to 1; a host may change it between chunks
//   first_timestep   in     f32  [1]            optional: the first chunk's timestep; phase "first" needs it
//   table_timesteps  in     f32  [P]            the schedule's table
//   table_sigmas     in     f32  [P]
//   noise_scale      out    f32  [1]            s
//   timestep         out    f32  [1]
//   sigma            out    f32  [1]            of the table's timestep nearest to it, the first one at a tie
//   phase            "first": s = s_init, timestep = first_timestep
//                    "next":  d_i = sqrt(mean((x_i - x_{i-1})^2)), i = 0 .. T - 1, x_{-1} = previous
//                             dhat = clip(max d_i / 0.2, 0, 1)
//                             s = 0.9 (s_init - 0.1 dhat) + 0.1 s, or s_init for s if level_bits is 0
//                             timestep = max(floor(1000 s) - 100, 0)
//
// Precision, which decides timesteps: x = v / 127.5 - 1, the difference, its square, the mean, the root, the quotient
// by 0.2f and dhat are each rounded to bf16 (to nearest even) from f32; the sum is exact. s is a double, computed in
// the order above without fused multiply-add. initial_scale stands for the nearest decimal with six places (0.7, not
// 0.69999999): the floor is of decimals. With s_init >= 0.2 a timestep is never below 0. Anything out of range is an
// error, and nothing is changed.
// Step state: reads initial_scale; reads and writes level_bits; writes noise_scale, timestep, sigma.
// FLOPs: 12 T Y X. Bytes: 3 (T + 2) Y X. Tuned for nothing: far below a thousandth of a chunk. Source: spec 2.7, 9.3.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kMotionNoise{
    "motion_noise",
    "s = 0.9 (s_init - 0.1 clip(max_i rms(x_i - x_{i-1}) / 0.2, 0, 1)) + 0.1 s; timestep = floor(1000 s) - 100",
    {
        {"frames", Access::kIn, DType::kU8, "T Y X 3"},
        {"previous", Access::kInOut, DType::kU8, "1 Y X 3"},
        {"level_bits", Access::kInOut, DType::kI64, "1"},
        {"initial_scale", Access::kIn, DType::kF32, "1"},
        {"first_timestep", Access::kIn, DType::kF32, "1", true},
        {"table_timesteps", Access::kIn, DType::kF32, "P"},
        {"table_sigmas", Access::kIn, DType::kF32, "P"},
        {"noise_scale", Access::kOut, DType::kF32, "1"},
        {"timestep", Access::kOut, DType::kF32, "1"},
        {"sigma", Access::kOut, DType::kF32, "1"},
    },
    {{"phase", Attribute::Type::kChoice, "", {"first", "next"}}},
};

void motion_noise_cpu(const OpArgs& args, ThreadPool& pool);
void motion_noise_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
