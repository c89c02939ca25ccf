// 8-bit pixels and the numbers that a video autoencoder works on: v / 127.5 - 1 for the range "signed", v / 255 for
// "unit" (spec 2.7, 4.6, 4.7).
#pragma once

#include <cstdint>

namespace penstock {

struct PixelRange {
  bool is_signed;
  float divisor() const { return is_signed ? 127.5f : 255.0f; }
  float offset() const { return is_signed ? 1.0f : 0.0f; }
};

void read_pixels(int64_t count, const uint8_t* pixels, PixelRange range, float* numbers);

// Clamped to 0 .. 255 and rounded to the nearest, to even at a tie; NaN gives 0.
void write_pixels(int64_t count, const float* numbers, PixelRange range, uint8_t* pixels);

}  // namespace penstock
