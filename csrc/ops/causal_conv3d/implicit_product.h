// The products of a convolution on the CPU: what the taps see of a few output pixels is gathered into rows that stay in
// the nearest cache, and multiplied with packed weights.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/cpu/matmul.h"
#include "engine/op.h"

namespace penstock::ops {

constexpr int64_t kBlockPixels = 384;  // enough to pay for packing weights
constexpr int64_t kBlockColumns = 128;

struct Conv {
  int64_t height, width, channels;  // of an input frame
  int64_t columns, positions;       // the first tap's positions in a row, in a picture
  int64_t upsample, out_channels;   // a position has upsample^2 output pixels, its places
  int64_t kernel_time, kernel_height, kernel_width;
  int64_t stride, time_stride, groups;

  int64_t depth() const { return kernel_time * kernel_height * kernel_width * channels; }

  // Index in an output frame of the pixel of a position.
  int64_t out_pixel(int64_t place, int64_t position) const {
    if (upsample == 1) return position;
    const int64_t y = position / columns * upsample + place / upsample;
    return (y * columns + position % columns) * upsample + place % upsample;
  }
};

Conv conv_of(const OpArgs& args);

// One block of a convolution: pixels of one place in an output frame, and at most kBlockColumns of its channels. T is
// float, or uint8_t for e4m3 codes.
template <typename T>
struct Block {
  std::vector<const T*> frames;  // the input frame of every tap in time; null for zeros
  int64_t place, first, pixels;  // of positions, at most kBlockPixels
  int64_t columns;
  const T* weight;  // [columns, depth]
};

// C[pixels, columns] = what the taps see of the block's pixels, times weight[columns, depth]^T.
template <typename T>
void convolve(const Conv& conv, const Block<T>& block, MatrixOut c);

}  // namespace penstock::ops
