#include "engine/cpu/vector_math.h"

namespace penstock {

PENSTOCK_MULTIVERSION
float dot(const float* a, const float* b, int64_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

PENSTOCK_MULTIVERSION
float row_max(const float* row, int64_t count) {
  float largest = row[0];
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; ++i) largest = row[i] > largest ? row[i] : largest;
  return largest;
}

PENSTOCK_MULTIVERSION
void scale_row(float* row, int64_t count, float factor) {
  for (int64_t i = 0; i < count; ++i) row[i] *= factor;
}

PENSTOCK_MULTIVERSION
float exp_row(float* row, int64_t count, float scale, float max) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    row[i] = fast_exp(scale * (row[i] - max));
    sum += row[i];
  }
  return sum;
}

}  // namespace penstock
