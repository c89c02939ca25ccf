#include "engine/cpu/pixels.h"

#include <cmath>

#include "engine/cpu/vector_math.h"

namespace penstock {
namespace {

PENSTOCK_MULTIVERSION
void divide(int64_t count, const uint8_t* pixels, float divisor, float offset, float* numbers) {
  for (int64_t i = 0; i < count; ++i) numbers[i] = static_cast<float>(pixels[i]) / divisor - offset;
}

PENSTOCK_MULTIVERSION
void round(int64_t count, const float* numbers, float offset, float scale, uint8_t* pixels) {
  for (int64_t i = 0; i < count; ++i) {
    const float v = (numbers[i] + offset) * scale;
    const float positive = v > 0.0f ? v : 0.0f;  // false for NaN
    pixels[i] = static_cast<uint8_t>(std::nearbyint(positive < 255.0f ? positive : 255.0f));
  }
}

}  // namespace

void read_pixels(int64_t count, const uint8_t* pixels, PixelRange range, float* numbers) {
  divide(count, pixels, range.divisor(), range.offset(), numbers);
}

void write_pixels(int64_t count, const float* numbers, PixelRange range, uint8_t* pixels) {
  round(count, numbers, range.offset(), range.divisor(), pixels);
}

}  // namespace penstock
