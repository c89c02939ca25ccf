#include "engine/picture.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/error.h"

namespace penstock {
namespace {

constexpr int kHalf = 1 << 15;
constexpr int64_t kMaxStride = int64_t{1} << 40;  // offsets of rows cannot overflow

int fixed(double value) { return static_cast<int>(std::lround(value * 65536)); }

uint8_t clamp_byte(int value) { return static_cast<uint8_t>(std::clamp(value, 0, 255)); }

const char* format_name(penstock_pixel_format format) {
  switch (format) {
    case PENSTOCK_RGB8: return "RGB8";
    case PENSTOCK_RGBA8: return "RGBA8";
    case PENSTOCK_BGRA8: return "BGRA8";
    case PENSTOCK_NV12: return "NV12";
    default: return nullptr;
  }
}

void nv12_to_rgb(const Picture& picture, uint8_t* rgb) {
  const ColorMatrix m = color_matrix(picture.color);
  for (int64_t y = 0; y < picture.height; ++y) {
    const uint8_t* luma = picture.planes[0] + y * picture.strides[0];
    const uint8_t* chroma = picture.planes[1] + y / 2 * picture.strides[1];
    for (int64_t x = 0; x < picture.width; ++x, rgb += 3) {
      const int level = (luma[x] - m.y_offset) * m.y_scale + kHalf;
      const int cb = chroma[x / 2 * 2] - 128, cr = chroma[x / 2 * 2 + 1] - 128;
      rgb[0] = clamp_byte((level + m.r_cr * cr) >> 16);
      rgb[1] = clamp_byte((level - m.g_cb * cb - m.g_cr * cr) >> 16);
      rgb[2] = clamp_byte((level + m.b_cb * cb) >> 16);
    }
  }
}

void rgb_to_nv12(const uint8_t* rgb, const Picture& picture) {
  const ColorMatrix m = color_matrix(picture.color);
  const int64_t row = 3 * picture.width;
  for (int64_t y = 0; y < picture.height; ++y) {
    uint8_t* luma = picture.planes[0] + y * picture.strides[0];
    for (int64_t x = 0; x < picture.width; ++x) {
      const uint8_t* p = rgb + y * row + 3 * x;
      luma[x] = clamp_byte((m.y_r * p[0] + m.y_g * p[1] + m.y_b * p[2] + (m.y_offset << 16) + kHalf) >> 16);
    }
  }
  // Sums of four pixels: two bits more than above.
  constexpr int kCentre = (128 << 18) + (1 << 17);
  for (int64_t y = 0; y < picture.height; y += 2) {
    uint8_t* chroma = picture.planes[1] + y / 2 * picture.strides[1];
    for (int64_t x = 0; x < picture.width; x += 2) {
      const uint8_t* p = rgb + y * row + 3 * x;
      int sum[3];
      for (int c = 0; c < 3; ++c) sum[c] = p[c] + p[c + 3] + p[c + row] + p[c + 3 + row];
      chroma[x] = clamp_byte((m.chroma * sum[2] - m.cb_r * sum[0] - m.cb_g * sum[1] + kCentre) >> 18);
      chroma[x + 1] = clamp_byte((m.chroma * sum[0] - m.cr_g * sum[1] - m.cr_b * sum[2] + kCentre) >> 18);
    }
  }
}

}  // namespace

int pixel_bytes(penstock_pixel_format format) { return format == PENSTOCK_NV12 ? 1 : format == PENSTOCK_RGB8 ? 3 : 4; }

int plane_count(penstock_pixel_format format) { return format == PENSTOCK_NV12 ? 2 : 1; }

int red_place(penstock_pixel_format format) { return format == PENSTOCK_BGRA8 ? 2 : 0; }

ColorMatrix color_matrix(penstock_color color) {
  const bool is_709 = color == PENSTOCK_BT709_LIMITED || color == PENSTOCK_BT709_FULL;
  const bool is_limited = color == PENSTOCK_BT709_LIMITED || color == PENSTOCK_BT601_LIMITED;
  const double kr = is_709 ? 0.2126 : 0.299, kb = is_709 ? 0.0722 : 0.114, kg = 1 - kr - kb;
  const double luma = is_limited ? 219.0 / 255 : 1, range = is_limited ? 224.0 / 255 : 1;
  const double from_cb = 2 - 2 * kb, from_cr = 2 - 2 * kr;
  ColorMatrix m{};
  m.y_offset = is_limited ? 16 : 0;
  m.y_scale = fixed(1 / luma);
  m.r_cr = fixed(from_cr / range);
  m.g_cb = fixed(from_cb * kb / kg / range);
  m.g_cr = fixed(from_cr * kr / kg / range);
  m.b_cb = fixed(from_cb / range);
  m.y_r = fixed(kr * luma);
  m.y_b = fixed(kb * luma);
  m.y_g = fixed(luma) - m.y_r - m.y_b;  // greys stay grey
  m.chroma = fixed(range / 2);
  m.cb_r = fixed(range * kr / from_cb);
  m.cb_g = m.chroma - m.cb_r;
  m.cr_b = fixed(range * kb / from_cr);
  m.cr_g = m.chroma - m.cr_b;
  return m;
}

Picture check_picture(const penstock_frame& frame, int64_t width, int64_t height) {
  const char* name = format_name(frame.format);
  if (!name) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "frame: unknown format ", static_cast<int>(frame.format));
  if (frame.memory != PENSTOCK_MEMORY_HOST && frame.memory != PENSTOCK_MEMORY_CUDA)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "frame: unknown memory ", static_cast<int>(frame.memory));
  if (frame.color < PENSTOCK_BT709_LIMITED || frame.color > PENSTOCK_BT601_FULL)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "frame: unknown color ", static_cast<int>(frame.color));
  if (frame.width != width || frame.height != height)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "frame: expected ", width, "x", height, " pixels (width x height), got ",
         frame.width, "x", frame.height);
  const int planes = plane_count(frame.format);
  if (planes == 2 && (width % 2 || height % 2))
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "frame: NV12 needs even sizes, the plan has ", width, "x", height);
  Picture picture{frame.format, frame.memory, frame.color, width, height, {}, {}, frame.cuda_stream};
  const int64_t row = pixel_bytes(frame.format) * width;
  for (int i = 0; i < planes; ++i) {
    picture.planes[i] = static_cast<uint8_t*>(frame.planes[i]);
    picture.strides[i] = frame.strides[i] ? frame.strides[i] : row;
    if (!picture.planes[i]) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "frame: planes[", i, "] is null");
    const int64_t stride = picture.strides[i];
    if ((stride < row && stride > -row) || stride > kMaxStride || stride < -kMaxStride)
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "frame: strides[", i, "]: expected at least the ", row, " bytes of a ", name,
           " row, got ", stride);
  }
  return picture;
}

std::pair<const uint8_t*, const uint8_t*> plane_range(const Picture& picture, int plane) {
  const int64_t rows = plane == 0 ? picture.height : picture.height / 2;
  const uint8_t* top = picture.planes[plane];
  const uint8_t* bottom = top + (rows - 1) * picture.strides[plane];
  return {std::min(top, bottom), std::max(top, bottom) + pixel_bytes(picture.format) * picture.width - 1};
}

void to_rgb(const Picture& picture, uint8_t* rgb) {
  if (picture.format == PENSTOCK_NV12) return nv12_to_rgb(picture, rgb);
  const int red = red_place(picture.format);
  for (int64_t y = 0; y < picture.height; ++y) {
    const uint8_t* from = picture.planes[0] + y * picture.strides[0];
    uint8_t* to = rgb + y * 3 * picture.width;
    if (picture.format == PENSTOCK_RGB8) {
      std::memcpy(to, from, static_cast<size_t>(3 * picture.width));
      continue;
    }
    for (int64_t x = 0; x < picture.width; ++x, from += 4, to += 3) {
      to[0] = from[red];
      to[1] = from[1];
      to[2] = from[2 - red];
    }
  }
}

void from_rgb(const uint8_t* rgb, const Picture& picture) {
  if (picture.format == PENSTOCK_NV12) return rgb_to_nv12(rgb, picture);
  const int red = red_place(picture.format);
  for (int64_t y = 0; y < picture.height; ++y) {
    const uint8_t* from = rgb + y * 3 * picture.width;
    uint8_t* to = picture.planes[0] + y * picture.strides[0];
    if (picture.format == PENSTOCK_RGB8) {
      std::memcpy(to, from, static_cast<size_t>(3 * picture.width));
      continue;
    }
    for (int64_t x = 0; x < picture.width; ++x, from += 3, to += 4) {
      to[red] = from[0];
      to[1] = from[1];
      to[2 - red] = from[2];
      to[3] = 255;
    }
  }
}

}  // namespace penstock
