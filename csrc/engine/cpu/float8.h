// The 8-bit floats of fp8_attention and fp8_vae, e4m3 as tensor cores read it (OCP 8-bit floating point, without
// infinities): sign, 4 bits of exponent, 3 of mantissa; 2^-9 to 448. Scales are powers of two, so that scaling is
// exact.
#pragma once

#include <cstdint>
#include <cstring>

#include "engine/cpu/vector_math.h"

namespace penstock {

constexpr float kLargestE4m3 = 448.0f;
constexpr float kSmallestNormalE4m3 = 0.015625f;

// The nearest float that e4m3 has, ties to even; beyond 448 it is 448. NaN stays.
PENSTOCK_INLINE float round_e4m3(float x) {
  constexpr float kToSubnormal = 24576.0f;  // 1.5 * 2^14: adding it rounds to multiples of 2^-9
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t sign = bits & 0x80000000u;
  bits &= 0x7fffffffu;
  float magnitude;
  std::memcpy(&magnitude, &bits, sizeof magnitude);
  bits = (bits + 0x7ffffu + (bits >> 20 & 1u)) & 0xfff00000u;
  float normal;
  std::memcpy(&normal, &bits, sizeof normal);
  normal = normal > kLargestE4m3 ? kLargestE4m3 : normal;
  const float subnormal = (magnitude + kToSubnormal) - kToSubnormal;
  const float rounded = magnitude < kSmallestNormalE4m3 ? subnormal : magnitude == magnitude ? normal : magnitude;
  std::memcpy(&bits, &rounded, sizeof bits);
  bits |= sign;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// Bits of the nearest e4m3 float.
uint8_t to_e4m3(float x);

// codes[i] = the bits of the e4m3 float nearest to row[i] scale.
void encode_row_e4m3(const float* row, int64_t count, float scale, uint8_t* codes);

// The value of every code.
const float* e4m3_values();

// row[i] = the e4m3 float nearest to row[i] scale, over scale, which is a power of two.
void round_row_e4m3(float* row, int64_t count, float scale);

// The smallest power of two, from 2^-60 on, with which `largest` is at most 448 times as large.
float e4m3_scale(float largest);

}  // namespace penstock
