// How causal_conv3d_sm90 cuts a layer into tiles, for the host and the device alike.
//
// A tile is a box of pixels of one output frame times a block of output channels. Its sums take 96 registers of every
// consumer's thread, so few channels go with many pixels: 96 with 384, 192 with 192, 64 with 576. A smaller tile of 128
// channels and 192 pixels is for small pictures.
#pragma once

#include <cstdint>

#include "ptx/host_device.h"

namespace penstock::conv {

constexpr int kDepth = 32;  // input channels of a step
constexpr int kConsumers = 3;
constexpr int kBlockPixels = 64;  // rows of a wgmma
constexpr int kSums = 96;         // of each thread of a consumer
constexpr int kWidestBox = 16;

// Blocks of 64 pixels that each consumer has.
PENSTOCK_BOTH constexpr int blocks_of(int columns) { return 2 * kSums / columns; }
PENSTOCK_BOTH constexpr int pixels_of(int columns) { return kConsumers * kBlockPixels * blocks_of(columns); }

PENSTOCK_BOTH constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// What is multiplied, as the kernel gets it. Positions: pixels of an output frame, of a doubled one before doubling.
struct Layer {
  int frames;         // of y
  int height, width;  // in positions
  int inputs, outputs;
  int kernel_time, kernel_height, kernel_width;
  int stride, upsample, time_stride, interleave;
};

// The most output channels that a tile may have; 0: none that fits.
constexpr int widest_columns(int64_t outputs) {
  // The more channels, the less often pixels are read: 192 where they divide, and never channels that are not there.
  return outputs % 192 == 0 ? 192 : outputs % 96 == 0 ? 96 : outputs % 64 == 0 ? 64 : 0;
}

// Taps of a column of the kernel that share the pixels in shared memory.
constexpr int taps_for(int64_t kernel_height, int64_t stride) {
  // With a stride of 2 neighbouring taps see other rows; kernels of another height than 2 and 3 do not occur.
  return stride == 1 && (kernel_height == 2 || kernel_height == 3) ? static_cast<int>(kernel_height) : 1;
}

// Boxes that cover a picture.
PENSTOCK_BOTH constexpr int boxes_of(int height, int width, int pixels, int box_width) {
  return ceil_div(height, pixels / box_width) * ceil_div(width, box_width);
}

// Pixels in a row of a box. Rows of 8 are what the swizzle repeats after: a tap further down is then 8 rows further.
constexpr int box_width_for(int height, int width, int columns) {
  const int pixels = pixels_of(columns);
  // Fewest boxes: the edges of a picture cost as much as its inside. Of equals the higher one reads fewer rows twice.
  return boxes_of(height, width, pixels, 8) <= boxes_of(height, width, pixels, kWidestBox) ? 8 : kWidestBox;
}

// Where a tile is.
struct Tile {
  int frame;        // of y, in this call
  int down, right;  // the place in a block of a doubled picture
  int row, column;  // of its first position
  int channel;      // its first output channel
  int box_width;
};

// All tiles of a layer, in the order in which they are computed: neighbours share their pixels, then their weights.
class Tiles {
 public:
  PENSTOCK_BOTH constexpr Tiles(const Layer& layer, int columns, int box_width)
      : columns_(columns),
        box_width_(box_width),
        box_height_(pixels_of(columns) / box_width),
        blocks_(layer.outputs / columns),
        upsample_(layer.upsample),
        wide_(ceil_div(layer.width, box_width)),
        high_(ceil_div(layer.height, box_height_)),
        frames_(layer.frames) {}

  PENSTOCK_BOTH constexpr int64_t count() const {
    return static_cast<int64_t>(blocks_) * upsample_ * upsample_ * wide_ * high_ * frames_;
  }

  PENSTOCK_BOTH Tile tile(int index) const {
    const int channel = index % blocks_ * columns_;
    index /= blocks_;
    const int right = index % upsample_, down = index / upsample_ % upsample_;
    index /= upsample_ * upsample_;
    const int column = index % wide_ * box_width_, row = index / wide_ % high_ * box_height_;
    return {index / (wide_ * high_), down, right, row, column, channel, box_width_};
  }

 private:
  int columns_, box_width_, box_height_, blocks_, upsample_, wide_, high_, frames_;
};

// How long all tiles take, in products of one multiprocessor: whole waves of equal tiles.
constexpr int64_t time_of_waves(const Layer& layer, int columns, int multiprocessors) {
  const int64_t tiles = Tiles(layer, columns, box_width_for(layer.height, layer.width, columns)).count();
  return (tiles + multiprocessors - 1) / multiprocessors * columns * pixels_of(columns);
}

// Output channels of a tile; 0: none that fits.
constexpr int columns_for(const Layer& layer, int multiprocessors) {
  const int widest = widest_columns(layer.outputs);
  // 384 channels of 60x104 pixels are 70 tiles of 192 on 132 multiprocessors: half of them would have nothing to do.
  // 105 of 128 take two thirds of the time. Of equals the wider one reads pixels less often.
  if (widest != 192 || layer.outputs % 128 != 0) return widest;
  return time_of_waves(layer, 128, multiprocessors) < time_of_waves(layer, 192, multiprocessors) ? 128 : 192;
}

}  // namespace penstock::conv
