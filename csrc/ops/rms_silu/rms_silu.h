// rms_silu: RMS normalisation of every pixel over its channels, then SiLU.
//
//   x        in   compute  [A, P, Q, C]   A frames, a ring if x_frame is given
//   x_frame  in   i64      [1]            optional: frames seen before this call
//   gamma    in   compute  [C]
//   y        out  compute  [B, P, Q, C]   a ring if y_frame is given
//   y_frame  in   i64      [1]            optional
//   y_scale  in   f32      [1]            optional, a power of two: y is then the e4m3 codes of act(...) / y_scale, u8
//   frames = T, activation "silu" or "none"
//
// For the frames i = 0 .. T - 1 (engine/frames.h):
//   y = act(x / max(|x|, 1e-12) * sqrt(C) * gamma), |x| the Euclidean norm over the channels, silu(z) = z / (1 + e^-z).
// In f32. Step state: reads both counters. FLOPs: about 20 T P Q C. Bytes (elements of compute): 2 T P Q C + C, codes
// half of their part. Tuned for C = 96 to 384, pictures of 60x104 to 480x832. Source: spec 4.6.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kRmsSilu{
    "rms_silu",
    "y = act(x / max(|x|, 1e-12) * sqrt(C) * gamma)",
    {
        {"x", Access::kIn, DType::kCompute, "A P Q C"},
        {"x_frame", Access::kIn, DType::kI64, "1", true},
        {"gamma", Access::kIn, DType::kCompute, "C"},
        {"y", Access::kOut, DType::kCompute, "B P Q C", false, {"y_scale"}},
        {"y_frame", Access::kIn, DType::kI64, "1", true},
        {"y_scale", Access::kIn, DType::kF32, "1", true},
    },
    {
        {"frames", Attribute::Type::kInt, "T"},
        {"activation", Attribute::Type::kChoice, "", {"silu", "none"}},
    },
};

// What the op does to `pixels` pixels [pixels, channels]; y may be x.
void normalize_pixels(int64_t pixels, int64_t channels, const float* x, const float* gamma, bool silu, float* y);

void rms_silu_cpu(const OpArgs& args, ThreadPool& pool);
void rms_silu_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
