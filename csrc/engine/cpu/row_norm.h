// Normalisation of one row in single precision, vectorised.
#pragma once

#include <cstdint>

namespace penstock {

// y = (x - mean) / sqrt(variance + eps) * (offset + scale) + shift, element by element.
void layernorm_row(int64_t count, const float* x, float eps, float offset, const float* scale, const float* shift,
                   float* y);

// y = x / sqrt(mean of squares + eps) * weight.
void rms_norm_row(int64_t count, const float* x, float eps, const float* weight, float* y);

}  // namespace penstock
