// What the kernels for a host's pictures do, for the mock driver: it computes nothing else. Read from the parameters
// that a launch is given, by kernels/packed_picture.py and kernels/nv12_picture.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

namespace mock_pictures {

// The values of a launch, one after the other.
class Parameters {
 public:
  explicit Parameters(void** values) : values_(values) {}
  template <typename T>
  T next() {
    T value;
    std::memcpy(&value, *values_++, sizeof value);
    return value;
  }

 private:
  void** values_;
};

inline uint8_t byte_of(int value) { return static_cast<uint8_t>(std::min(std::max(value, 0), 255)); }

struct Packed {
  explicit Packed(Parameters& p)
      : stride(p.next<int64_t>()), width(p.next<int>()), bytes(p.next<int>()), red(p.next<int>()) {}
  int64_t stride;
  int width, bytes, red;
};

inline void rgb_from_packed(Parameters p, int64_t rows) {
  const auto* picture = p.next<const uint8_t*>();
  auto* rgb = p.next<uint8_t*>();
  const Packed form(p);
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t x = 0; x < form.width; ++x, rgb += 3) {
      const uint8_t* pixel = picture + y * form.stride + form.bytes * x;
      rgb[0] = pixel[form.red], rgb[1] = pixel[1], rgb[2] = pixel[2 - form.red];
    }
}

inline void packed_from_rgb(Parameters p, int64_t rows) {
  const auto* rgb = p.next<const uint8_t*>();
  auto* picture = p.next<uint8_t*>();
  const Packed form(p);
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t x = 0; x < form.width; ++x, rgb += 3) {
      uint8_t* pixel = picture + y * form.stride + form.bytes * x;
      pixel[form.red] = rgb[0], pixel[1] = rgb[1], pixel[2 - form.red] = rgb[2];
      if (form.bytes == 4) pixel[3] = 255;
    }
}

inline void rgb_from_nv12(Parameters p, int64_t rows) {
  const auto *luma = p.next<const uint8_t*>(), *pairs = p.next<const uint8_t*>();
  auto* rgb = p.next<uint8_t*>();
  const auto luma_stride = p.next<int64_t>(), pairs_stride = p.next<int64_t>();
  const int width = p.next<int>(), offset = p.next<int>(), scale = p.next<int>();
  const int r_cr = p.next<int>(), g_cb = p.next<int>(), g_cr = p.next<int>(), b_cb = p.next<int>();
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t x = 0; x < width; ++x, rgb += 3) {
      const uint8_t* pair = pairs + y / 2 * pairs_stride + x / 2 * 2;
      const int level = (luma[y * luma_stride + x] - offset) * scale + 32768, cb = pair[0] - 128, cr = pair[1] - 128;
      rgb[0] = byte_of((level + r_cr * cr) >> 16);
      rgb[1] = byte_of((level - g_cb * cb - g_cr * cr) >> 16);
      rgb[2] = byte_of((level + b_cb * cb) >> 16);
    }
}

inline void nv12_from_rgb(Parameters p, int64_t row_pairs) {
  const auto* rgb = p.next<const uint8_t*>();
  auto *luma = p.next<uint8_t*>(), *pairs = p.next<uint8_t*>();
  const auto luma_stride = p.next<int64_t>(), pairs_stride = p.next<int64_t>();
  const int width = p.next<int>(), offset = p.next<int>();
  int m[8];  // y_r, y_g, y_b, cb_r, cb_g, chroma, cr_g, cr_b
  for (int& coefficient : m) coefficient = p.next<int>();
  for (int64_t y = 0; y < 2 * row_pairs; y += 2)
    for (int64_t x = 0; x < width; x += 2) {
      int sum[3] = {0, 0, 0};
      for (int64_t place = 0; place < 4; ++place) {
        const int64_t row = y + place / 2, column = x + place % 2;
        const uint8_t* pixel = rgb + (row * width + column) * 3;
        const int level = m[0] * pixel[0] + m[1] * pixel[1] + m[2] * pixel[2];
        luma[row * luma_stride + column] = byte_of((level + (offset << 16) + 32768) >> 16);
        for (int c = 0; c < 3; ++c) sum[c] += pixel[c];
      }
      const int centre = (128 << 18) + (1 << 17);
      uint8_t* pair = pairs + y / 2 * pairs_stride + x;
      pair[0] = byte_of((m[5] * sum[2] - m[3] * sum[0] - m[4] * sum[1] + centre) >> 18);
      pair[1] = byte_of((m[5] * sum[0] - m[6] * sum[1] - m[7] * sum[2] + centre) >> 18);
    }
}

// False for other kernels. `rows` is the second dimension of the grid.
inline bool run(const std::string& symbol, int64_t rows, void** values) {
  const Parameters parameters(values);
  if (symbol == "rgb_from_packed_kernel") return rgb_from_packed(parameters, rows), true;
  if (symbol == "packed_from_rgb_kernel") return packed_from_rgb(parameters, rows), true;
  if (symbol == "rgb_from_nv12_kernel") return rgb_from_nv12(parameters, rows), true;
  if (symbol == "nv12_from_rgb_kernel") return nv12_from_rgb(parameters, rows), true;
  return false;
}

}  // namespace mock_pictures
