// causal_conv3d: a convolution over frames, causal in time, with all that surrounds one in a video autoencoder.
//
//   x               in   compute  [A, s P, s Q, I]       A frames, a ring if x_frame is given (engine/frames.h)
//   x_frame         in   i64      [1]                    optional: frames seen before this call, at x's rate
//   past            both compute  [E, s P, s Q, I]       optional, with x_range: a ring, with x_frame as its counter
//   weight          in   compute  [u u g O, kt, ky, kx, I]   channels last; with u = 2 four kernels, as below
//   bias            in   compute  [g O]                  optional
//   residual        in   compute  [D, u P, u Q, O]       optional; a ring if residual_frame is given
//   residual_frame  in   i64      [1]                    optional, at y's rate
//   gamma           in   compute  [O]                    optional: y is then normalised
//   y               out  compute  [B, u P, u Q, O]       a ring if y_frame is given
//   y_frame         in   i64      [1]                    optional, at y's rate
//   raw             out  compute  [C, u P, u Q, O]       optional: what y is made of; a ring if raw_frame is given
//   raw_frame       in   i64      [1]                    optional, at y's rate
//   sum_scale       in   f32      [u u g O]              optional: x and weight are then e4m3 codes, u8
//   y_scale         in   f32      [1]                    optional: y is then e4m3 codes, u8
//   frames          T new frames of x, a multiple of d
//   stride          s: 1 pads with zeros by (k - 1) / 2 on all sides; 2 pads at the right and the bottom only
//   upsample        u: 2 doubles the picture, as below
//   time_stride     d, interleave g: as below. These four are 1 or 2, stride and upsample not both 2
//   activation      "none", "relu" or "silu"
//   x_range         optional: "none"; with "signed" or "unit" x is 8-bit pixels v, u8, as below
//   y_range         optional: "none"; with "signed" or "unit" y is 8-bit pixels, u8, as below
//
// Step t = 0 .. T/d - 1 reads the frames f(i) = d t + i - (kt - d) of x, i = 0 .. kt - 1, and writes the frames
// g t + j of y, j = 0 .. g - 1. Negative frames are the halo: kt - d frames that earlier calls left in the ring, which
// has room for T + kt - d, or zeros for a plain x. With x zero outside of the picture, places a, b = 0 .. u - 1 in a
// block of u x u pixels, and a first tap at r(p, a, k) = s p for s = 2 and p + floor((a + 1 - k) / 2) for s = 1:
//
//   raw[g t + j, u p + a, u q + b, o] = bias[j O + o] + residual[g t + j, u p + a, u q + b, o]
//       + sum over i, v, w, c of weight[((u a + b) g + j) O + o, i, v, w, c] x[f(i), r(p, a, ky) + v, r(q, b, kx) + w,
//       c]
//   y = act(raw), or with gamma act(raw / max(|raw|, 1e-12) * sqrt(O) * gamma), |raw| the norm over a pixel's channels
//
// With sum_scale the sum is one of codes, times sum_scale[((u a + b) g + j) O + o], what a product of 1 and 1 stands
// for; with y_scale, a power of two, y is the nearest e4m3 floats to act(...) / y_scale. See precision fp8_vae.
//
// Pixels stand for v / 127.5 - 1 ("signed") or v / 255 ("unit"): x has the T new frames, which also go into past in
// numbers, for the calls to come, and earlier ones are read there; y is clamped, rounded to even, and 0 for NaN. So the
// first and the last layer of an autoencoder take and give the frames of a video as they are. With past, s, u, d and g
// are 1.
//
// So the norm of the layer behind (rms_silu) costs no pass of its own, and what only it reads is never written.
//
// A published 3x3 kernel over a picture that was doubled (nearest) is four 2x2 kernels over the picture itself, with
// the taps added that see the same pixel (ConvKernel in runtime/pack.py): 16 products in place of 36.
//
// Sums and norm in f32. Step state: reads the four counters. FLOPs: 2 (T/d) u^2 P Q g O kt ky kx I.
// Bytes (elements of compute, codes of one byte): (T + kt - d) s^2 P Q I + (T/d) g u^2 P Q O, once more each with a
// residual and with raw, + u^2 g O kt ky kx I. Tuned for I, O = 16 to 384, 3x3x3, pictures of 30x52 to 480x832. Source:
// spec 4.6, 4.7.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kCausalConv3d{
    "causal_conv3d",
    "raw = conv(x) + bias + residual, y = act(raw) or act(norm(raw) * gamma)",
    {
        {"x", Access::kIn, DType::kCompute, "A s*P s*Q I", false, {"sum_scale", "pixels_in"}},
        {"x_frame", Access::kIn, DType::kI64, "1", true},
        {"past", Access::kInOut, DType::kCompute, "E s*P s*Q I", true},
        {"weight", Access::kIn, DType::kCompute, "u*u*g*O kt ky kx I", false, {"sum_scale"}},
        {"bias", Access::kIn, DType::kCompute, "g*O", true},
        {"residual", Access::kIn, DType::kCompute, "D u*P u*Q O", true},
        {"residual_frame", Access::kIn, DType::kI64, "1", true},
        {"gamma", Access::kIn, DType::kCompute, "O", true},
        {"y", Access::kOut, DType::kCompute, "B u*P u*Q O", false, {"y_scale", "pixels_out"}},
        {"y_frame", Access::kIn, DType::kI64, "1", true},
        {"raw", Access::kOut, DType::kCompute, "C u*P u*Q O", true},
        {"raw_frame", Access::kIn, DType::kI64, "1", true},
        {"sum_scale", Access::kIn, DType::kF32, "u*u*g*O", true},
        {"y_scale", Access::kIn, DType::kF32, "1", true},
    },
    {
        {"frames", Attribute::Type::kInt, "T"},
        {"stride", Attribute::Type::kInt, "s"},
        {"upsample", Attribute::Type::kInt, "u"},
        {"time_stride", Attribute::Type::kInt, "d"},
        {"interleave", Attribute::Type::kInt, "g"},
        {"activation", Attribute::Type::kChoice, "", {"none", "relu", "silu"}},
        {"x_range", Attribute::Type::kChoice, "pixels_in", {"none", "signed", "unit"}, 1, true},
        {"y_range", Attribute::Type::kChoice, "pixels_out", {"none", "signed", "unit"}, 1, true},
    },
    [](const Symbols& symbols) -> std::string {
      const auto has = [&](const char* role) { return symbols.find(role) != symbols.end(); };
      if (symbols.at("pixels_in") && has("sum_scale")) return "x cannot be pixels and 8-bit floats at once";
      if (symbols.at("pixels_out") && has("y_scale")) return "y cannot be pixels and 8-bit floats at once";
      if (has("past") && !(symbols.at("pixels_in") && has("x_frame"))) return "past needs x_range and x_frame";
      if (symbols.at("pixels_in") && has("x_frame") && !has("past")) return "x_frame needs past where x is pixels";
      if (has("past") && symbols.at("s") * symbols.at("u") * symbols.at("d") * symbols.at("g") != 1)
        return "with past, stride, upsample, time_stride and interleave must be 1";
      for (const char* factor : {"s", "u", "d", "g"})
        if (symbols.at(factor) > 2) return "stride, upsample, time_stride and interleave must be 1 or 2";
      if (symbols.at("s") == 2 && symbols.at("u") == 2) return "stride and upsample must not both be 2";
      if (symbols.at("kt") < symbols.at("d")) return "the kernel must span at least time_stride frames";
      if (symbols.at("u") == 1 && (symbols.at("ky") % 2 == 0 || symbols.at("kx") % 2 == 0))
        return "the kernel's height and width must be odd";
      return symbols.at("T") % symbols.at("d") ? "frames must be a multiple of time_stride" : "";
    },
};

void causal_conv3d_cpu(const OpArgs& args, ThreadPool& pool);
void causal_conv3d_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
