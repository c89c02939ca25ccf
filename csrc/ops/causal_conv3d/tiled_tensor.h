// The tensors of a convolution as TMA reads them, 32 channels at a time, which are the 64 bytes of a swizzled row.
#pragma once

#include "ops/causal_conv3d/tile.h"
#include "ptx/tensor_map.h"

namespace penstock::conv {

// Frames [frames, height, width, inputs] in boxes of the pixels that one tap sees of a tile, and `taps` - 1 rows more.
// A box that reaches beyond a picture, or before the first frame, gets zeros there.
inline TiledTensor tiled_frames(const void* address, int64_t frames, const Layer& layer, int columns, int taps,
                                int box_width) {
  const auto height = static_cast<uint64_t>(layer.height) * static_cast<uint64_t>(layer.stride);
  const auto width = static_cast<uint64_t>(layer.width) * static_cast<uint64_t>(layer.stride);
  const auto inputs = static_cast<uint64_t>(layer.inputs);
  const auto stride = static_cast<uint32_t>(layer.stride);
  const auto box_height = static_cast<uint32_t>(pixels_of(columns) / box_width + taps - 1);
  return {address,
          {inputs, width, height, static_cast<uint64_t>(frames)},
          {2 * inputs, 2 * inputs * width, 2 * inputs * width * height},
          {kDepth, static_cast<uint32_t>(box_width), box_height, 1},
          {1, stride, stride, 1}};
}

// Weights [rows, taps of the kernel, inputs] in boxes of one tap for the output channels of a tile.
inline TiledTensor tiled_weights(const void* address, int64_t rows, const Layer& layer, int columns) {
  const auto inputs = static_cast<uint64_t>(layer.inputs);
  const auto taps = static_cast<uint64_t>(layer.kernel_time * layer.kernel_height * layer.kernel_width);
  const auto count = static_cast<uint64_t>(rows);
  return {address,
          {inputs, taps, count, 1},
          {2 * inputs, 2 * inputs * taps, 2 * inputs * taps * count},
          {kDepth, 1, static_cast<uint32_t>(columns), 1}};
}

}  // namespace penstock::conv
