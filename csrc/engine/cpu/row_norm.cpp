#include "engine/cpu/row_norm.h"

#include <cmath>

#include "engine/cpu/vector_math.h"

namespace penstock {

PENSTOCK_MULTIVERSION
void layernorm_row(int64_t count, const float* x, float eps, float offset, const float* scale, const float* shift,
                   float* y) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += x[i];
  const float rounded = sum / static_cast<float>(count);
  // Of the differences, so that a large mean costs no precision; their own mean is what rounding took from it, which is
  // much where the compiler adds up one number after the other.
  float rest = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : rest, squares)
  for (int64_t i = 0; i < count; ++i) {
    const float difference = x[i] - rounded;
    rest += difference;
    squares += difference * difference;
  }
  rest /= static_cast<float>(count);
  const float mean = rounded + rest;
  const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(count) - rest * rest + eps);
  for (int64_t i = 0; i < count; ++i) y[i] = (x[i] - mean) * inverse * (offset + scale[i]) + shift[i];
}

PENSTOCK_MULTIVERSION
void rms_norm_row(int64_t count, const float* x, float eps, const float* weight, float* y) {
  float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < count; ++i) squares += x[i] * x[i];
  const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(count) + eps);
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] * inverse * weight[i];
}

}  // namespace penstock
