#include "engine/cpu/float8.h"

#include <array>
#include <cmath>

namespace penstock {
namespace {

constexpr int kBias = 7, kMantissaBits = 3;

std::array<float, 256> make_values() {
  std::array<float, 256> values{};
  for (int code = 0; code < 256; ++code) {
    const int exponent = code >> kMantissaBits & 15, mantissa = code & 7;
    const float magnitude = exponent == 0
                                ? std::ldexp(static_cast<float>(mantissa), 1 - kBias - kMantissaBits)
                                : std::ldexp(static_cast<float>(8 + mantissa), exponent - kBias - kMantissaBits);
    const float value = (code & 0x7f) == 0x7f ? NAN : magnitude;
    values[static_cast<size_t>(code)] = code & 0x80 ? -value : value;
  }
  return values;
}

}  // namespace

PENSTOCK_MULTIVERSION
void encode_row_e4m3(const float* row, int64_t count, float scale, uint8_t* codes) {
  for (int64_t i = 0; i < count; ++i) {
    const float rounded = round_e4m3(row[i] * scale);
    uint32_t bits;
    std::memcpy(&bits, &rounded, sizeof bits);
    const uint32_t magnitude = bits & 0x7fffffffu;
    const float value = std::fabs(rounded);
    // Below the smallest normal number codes count steps of 2^-9; above, a code is a float's bits less its bias.
    const bool is_subnormal = value < kSmallestNormalE4m3;
    const uint32_t subnormal = static_cast<uint32_t>(is_subnormal ? value * 512.0f : 0.0f);
    const uint32_t normal = (magnitude >> 20) - (120u << kMantissaBits);
    const uint32_t code = is_subnormal ? subnormal : value <= kLargestE4m3 ? normal : 0x7fu;
    codes[i] = static_cast<uint8_t>(code | (bits >> 24 & 0x80u));
  }
}

uint8_t to_e4m3(float x) {
  uint8_t code;
  encode_row_e4m3(&x, 1, 1.0f, &code);
  return code;
}

const float* e4m3_values() {
  static const std::array<float, 256> values = make_values();
  return values.data();
}

PENSTOCK_MULTIVERSION
void round_row_e4m3(float* row, int64_t count, float scale) {
  const float back = 1.0f / scale;
  for (int64_t i = 0; i < count; ++i) row[i] = round_e4m3(row[i] * scale) * back;
}

float e4m3_scale(float largest) {
  constexpr int kSmallest = -60;
  int exponent = 0;
  const float mantissa = std::frexp(largest, &exponent);  // 448 = 0.875 * 2^9
  if (!(largest > 0.0f)) return std::ldexp(1.0f, kSmallest);
  exponent += (mantissa > 0.875f) - 9;
  return std::ldexp(1.0f, exponent < kSmallest ? kSmallest : exponent);
}

}  // namespace penstock
