// Picture: a host's frame, checked; and the conversions between its pixel format and RGB8, which the engine computes
// in.
//
// Y'CbCr by ITU-R BT.709 or BT.601, limited or full range, in 16-bit fixed point: with Kr, Kb and Kg = 1 - Kr - Kb,
//   Y = Kr R + Kg G + Kb B,  Cb = (B - Y) / (2 - 2 Kb),  Cr = (R - Y) / (2 - 2 Kr),
// scaled to Y 16..235 and Cb, Cr 16..240 (limited) or 0..255 (full). A result is within 0.51 of the exact value.
#pragma once

#include <cstdint>
#include <utility>

#include "penstock/penstock.h"

namespace penstock {

// Fixed-point coefficients, times 2^16.
struct ColorMatrix {
  int y_offset, y_scale;               // Y' = (y - y_offset) * y_scale
  int r_cr, g_cb, g_cr, b_cb;          // R = Y' + r_cr Cr, G = Y' - g_cb Cb - g_cr Cr, B = Y' + b_cb Cb
  int y_r, y_g, y_b;                   // y = y_offset + y_r R + y_g G + y_b B
  int cb_r, cb_g, chroma, cr_g, cr_b;  // Cb = chroma B - cb_r R - cb_g G, Cr = chroma R - cr_g G - cr_b B
};

ColorMatrix color_matrix(penstock_color color);

// Bytes of a pixel in plane 0, and of a pair of columns in plane 1 per column.
int pixel_bytes(penstock_pixel_format format);

// Which byte of a pixel is red; blue is the one of 0 and 2 that is not.
int red_place(penstock_pixel_format format);

int plane_count(penstock_pixel_format format);

struct Picture {
  penstock_pixel_format format;
  penstock_memory memory;
  penstock_color color;
  int64_t width;
  int64_t height;
  uint8_t* planes[2];
  int64_t strides[2];  // bytes; never 0
  void* cuda_stream;
};

// Throws PENSTOCK_ERR_INVALID_ARGUMENT unless `frame` is a picture of this size.
Picture check_picture(const penstock_frame& frame, int64_t width, int64_t height);

// The first and the last byte of a plane in memory.
std::pair<const uint8_t*, const uint8_t*> plane_range(const Picture& picture, int plane);

// Host pictures; rgb is [height, width, 3] without gaps.
void to_rgb(const Picture& picture, uint8_t* rgb);
void from_rgb(const uint8_t* rgb, const Picture& picture);

}  // namespace penstock
