// gate_residual_layernorm: a residual addition, gated per slot, and the LayerNorm that follows it.
//
//   x       inout  compute  [M, d]   the residual stream
//   update  in     compute  [M, d]
//   gate    in     compute  [S, d]   optional; 1 if absent
//   scale   in     compute  [R, d]   R = S for "modulate", 1 for the weight of "affine"
//   shift   in     compute  [R, d]
//   y       out    compute  [M, d]
//   eps     float
//   norm    "modulate": y = LN(x) * (1 + scale) + shift;  "affine": y = LN(x) * scale + shift
//
// Row m belongs to gate row m / (M / S) and to scale and shift row m / (M / R). Statistics in f32, of the new x.
// Step state: none. FLOPs: 11 M d. Bytes (elements of compute): 4 M d + S d + 2 R d.
// Tuned for M = 1024 to 7200, d = 256 to 5120. Source: spec 4.3, steps 4c, 4d, 4e and 5.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kGateResidualLayernorm{
    "gate_residual_layernorm",
    "x += gate[s] * update; y = LN(x) * (1 + scale) + shift, or LN(x) * scale + shift",
    {
        {"x", Access::kInOut, DType::kCompute, "M d"},
        {"update", Access::kIn, DType::kCompute, "M d"},
        {"gate", Access::kIn, DType::kCompute, "S d", true},
        {"scale", Access::kIn, DType::kCompute, "R d"},
        {"shift", Access::kIn, DType::kCompute, "R d"},
        {"y", Access::kOut, DType::kCompute, "M d"},
    },
    {
        {"eps", Attribute::Type::kFloat},
        {"norm", Attribute::Type::kChoice, "", {"modulate", "affine"}},
    },
    [](const Symbols& symbols) -> std::string {
      const auto splits = [&](int64_t parts) { return parts >= 1 && symbols.at("M") % parts == 0; };
      const auto slots = symbols.find("S");
      if (slots != symbols.end() && !splits(slots->second)) return "the rows M must divide evenly into S gates";
      return splits(symbols.at("R")) ? "" : "the rows M must divide evenly into R rows of scale and shift";
    },
};

void gate_residual_layernorm_cpu(const OpArgs& args, ThreadPool& pool);
void gate_residual_layernorm_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
