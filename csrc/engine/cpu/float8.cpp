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

uint8_t to_e4m3(float x) {
  const float rounded = round_e4m3(x);
  uint32_t bits;
  std::memcpy(&bits, &rounded, sizeof bits);
  const uint32_t sign = bits >> 24 & 0x80;
  const float magnitude = std::fabs(rounded);
  if (!(magnitude <= kLargestE4m3)) return static_cast<uint8_t>(sign | 0x7f);
  if (magnitude < 0.015625f) return static_cast<uint8_t>(sign | static_cast<uint32_t>(magnitude * 512.0f));
  const uint32_t exponent = (bits >> 23 & 0xff) - 127 + kBias;
  return static_cast<uint8_t>(sign | exponent << kMantissaBits | (bits >> 20 & 7));
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
  constexpr int kSmallest = -100;
  int exponent = 0;
  const float mantissa = std::frexp(largest, &exponent);  // 448 = 0.875 * 2^9
  if (!(largest > 0.0f)) return std::ldexp(1.0f, kSmallest);
  exponent += (mantissa > 0.875f) - 9;
  return std::ldexp(1.0f, exponent < kSmallest ? kSmallest : exponent);
}

}  // namespace penstock
