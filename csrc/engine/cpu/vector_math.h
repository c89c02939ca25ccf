// Single-precision math that compilers vectorise, and the macro that builds a loop for several instruction sets.
#pragma once

#include <cstdint>
#include <cstring>

// A function marked PENSTOCK_MULTIVERSION is compiled for AVX-512, AVX2 and the baseline; the loader picks one. Only
// what is inlined into it is built that way: hot loops are plain functions over pointers, not lambdas. It needs the
// indirect functions of glibc, which clash with sanitizers.
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PENSTOCK_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PENSTOCK_MULTIVERSION
#endif

#ifdef __clang__  // says so for every `omp simd` loop that it leaves as it is, without optimisation for all of them
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

#define PENSTOCK_INLINE inline __attribute__((always_inline))

namespace penstock {

// e^x with a relative error below 2e-7; 0 below -87.7, where floats become subnormal; saturates above 88.3.
// Cody-Waite reduction to |r| <= ln(2)/2 and the polynomial of Cephes' expf.
PENSTOCK_INLINE float fast_exp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which ends up in the low bits
  const float below = 88.3f < x ? 88.3f : x;
  const float clamped = -88.0f > below ? -88.0f : below;  // at -88, n is -127 and 2^n comes out as 0; NaN passes
  const float shifted = clamped * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;  // 2^n
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

// GELU by tanh, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as x * sigmoid(2 u): no cancellation for negative x.
PENSTOCK_INLINE float gelu_tanh(float x) {
  const float u2 = x * (1.5957691216057308f + 0.07135481627260025f * (x * x));
  return x / (1.0f + fast_exp(-u2));
}

float dot(const float* a, const float* b, int64_t count);

float row_max(const float* row, int64_t count);

void scale_row(float* row, int64_t count, float factor);

// row[i] = exp(scale * (row[i] - max)); returns the sum.
float exp_row(float* row, int64_t count, float scale, float max);

}  // namespace penstock
