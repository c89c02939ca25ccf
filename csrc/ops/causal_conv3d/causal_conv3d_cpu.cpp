// Implicit matrix products: what the taps see of a few output pixels is gathered into rows that stay in the nearest
// cache, and multiplied with packed weights.
#include "ops/causal_conv3d/causal_conv3d.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/cpu/register_tile.h"
#include "engine/cpu/vector_math.h"
#include "engine/frames.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

constexpr int64_t kBlockPixels = 384;  // enough to pay for packing weights
constexpr int64_t kBlockColumns = 128;

// The geometry; `double_shift` is 1 where the picture is doubled.
struct Conv {
  int64_t height, width, channels;  // of an input frame
  int64_t out_width, out_pixels, out_channels;
  int64_t kernel_time, kernel_height, kernel_width;
  int64_t stride, double_shift, time_stride, groups;

  int64_t depth() const { return kernel_time * kernel_height * kernel_width * channels; }
  int64_t pad(int64_t kernel) const { return stride == 1 ? (kernel - 1) / 2 : 0; }
};

Conv conv_of(const OpArgs& args) {
  Conv conv{};
  conv.stride = args.dim("s");
  conv.double_shift = args.dim("u") - 1;
  conv.time_stride = args.dim("d");
  conv.groups = args.dim("g");
  conv.height = args.dim("P") * conv.stride;
  conv.width = args.dim("Q") * conv.stride;
  conv.channels = args.dim("I");
  conv.out_width = args.dim("Q") * args.dim("u");
  conv.out_pixels = args.dim("P") * args.dim("u") * conv.out_width;
  conv.out_channels = args.dim("O");
  conv.kernel_time = args.dim("kt");
  conv.kernel_height = args.dim("ky");
  conv.kernel_width = args.dim("kx");
  return conv;
}

// A part of what one row of taps sees: `count` floats from a channel of one tap on, over the taps to its right.
struct Piece {
  const float* frame;
  int64_t tap_y, tap_x, channel, count;
};

struct Scratch {
  alignas(64) float weights[kTileDepth * kBlockColumns];
  alignas(64) float rows[kMaxTileRows * kTileStride];
  std::vector<Piece> pieces;
};

// Floats [begin, end) of what all taps see, by rows of taps; frames[i] is the input frame of tap i in time.
void cut_pieces(const Conv& conv, const float* const* frames, int64_t begin, int64_t end, std::vector<Piece>& pieces) {
  const int64_t row_depth = conv.kernel_width * conv.channels;
  pieces.clear();
  while (begin < end) {
    const int64_t row = begin / row_depth, inside = begin % row_depth;
    const int64_t count = std::min(end - begin, row_depth - inside);
    pieces.push_back({frames[row / conv.kernel_height], row % conv.kernel_height, inside / conv.channels,
                      inside % conv.channels, count});
    begin += count;
  }
}

// What a piece sees where the first tap of the kernel is at (y, x) of the doubled picture.
void gather_piece(const Conv& conv, const Piece& piece, int64_t y, int64_t x, float* target) {
  const int64_t channels = conv.channels, shift = conv.double_shift;
  y += piece.tap_y;
  if (!piece.frame || y < 0 || y >= conv.height << shift) {
    std::fill_n(target, piece.count, 0.0f);
    return;
  }
  const float* row = piece.frame + (y >> shift) * conv.width * channels;
  const bool inside = x >= 0 && x + conv.kernel_width <= conv.width;
  x += piece.tap_x;
  if (shift == 0 && inside) {
    std::memcpy(target, row + x * channels + piece.channel, static_cast<size_t>(piece.count) * sizeof(float));
    return;
  }
  for (int64_t channel = piece.channel, left = piece.count; left > 0; channel = 0, ++x) {
    const int64_t count = std::min(left, channels - channel);
    if (x < 0 || x >= conv.width << shift)
      std::fill_n(target, count, 0.0f);
    else
      std::memcpy(target, row + (x >> shift) * channels + channel, static_cast<size_t>(count) * sizeof(float));
    target += count;
    left -= count;
  }
}

// What the taps see of `pixels` output pixels from `first`, one row of a tile for each.
void gather(const Conv& conv, const std::vector<Piece>& pieces, int64_t first, int64_t pixels, float* rows) {
  int64_t y = first / conv.out_width, x = first % conv.out_width;
  for (int64_t i = 0; i < pixels; ++i) {
    float* target = rows + i * kTileStride;
    for (const Piece& piece : pieces) {
      gather_piece(conv, piece, y * conv.stride - conv.pad(conv.kernel_height),
                   x * conv.stride - conv.pad(conv.kernel_width), target);
      target += piece.count;
    }
    if (++x == conv.out_width) x = 0, ++y;
  }
}

// C[pixels, columns] = what the taps see of the pixels from `first`, times weight[columns, depth]^T.
void convolve(const Conv& conv, const float* const* frames, int64_t first, int64_t pixels, int64_t columns,
              const float* weight, MatrixOut c) {
  thread_local const auto scratch = std::make_unique<Scratch>();
  const RegisterTile& tile = register_tile();
  const int64_t depth = conv.depth(), parts = (depth + kTileDepth - 1) / kTileDepth;
  const int64_t part = (depth + parts - 1) / parts;  // equal ones: a short last one would not pay
  for (int64_t begin = 0; begin < depth; begin += part) {
    const int64_t end = std::min(depth, begin + part);
    cut_pieces(conv, frames, begin, end, scratch->pieces);
    pack_panels(tile, columns, end - begin, {weight + begin, depth}, scratch->weights);
    for (int64_t i = 0; i < pixels; i += tile.rows) {
      const int64_t rows = std::min<int64_t>(tile.rows, pixels - i);
      gather(conv, scratch->pieces, first + i, rows, scratch->rows);
      multiply_panels(tile, rows, columns, end - begin, scratch->rows, scratch->weights,
                      {c.data + i * c.stride, c.stride}, begin == 0 ? Write::kReplace : Write::kAdd);
    }
  }
}

PENSTOCK_MULTIVERSION
void finish(int64_t count, const float* bias, const float* residual, bool relu, float* y) {
  if (bias)
    for (int64_t i = 0; i < count; ++i) y[i] += bias[i];
  if (residual)
    for (int64_t i = 0; i < count; ++i) y[i] += residual[i];
  if (relu)
    for (int64_t i = 0; i < count; ++i) y[i] = y[i] < 0.0f ? 0.0f : y[i];
}

}  // namespace

void causal_conv3d_cpu(const OpArgs& args, ThreadPool& pool) {
  const Conv conv = conv_of(args);
  const int64_t steps = args.dim("T") / conv.time_stride, out_frames = steps * conv.groups, width = conv.out_channels;
  const auto x = frames_of<const float>(args, "x", "x_frame", args.dim("T"), conv.kernel_time - conv.time_stride);
  const auto y = frames_of<float>(args, "y", "y_frame", out_frames);
  FrameRing<const float> residual{};
  if (args.has("residual")) residual = frames_of<const float>(args, "residual", "residual_frame", out_frames);
  const float* weight = args.data<const float>("weight");
  const float* bias = args.data<const float>("bias");
  const bool relu = args.choice("activation") == "relu";

  const int64_t column_blocks = (width + kBlockColumns - 1) / kBlockColumns;
  const int64_t pixel_blocks = (conv.out_pixels + kBlockPixels - 1) / kBlockPixels;
  pool.for_each(out_frames * pixel_blocks * column_blocks, [&](int64_t task) {
    const int64_t frame = task / (pixel_blocks * column_blocks), step = frame / conv.groups;
    const int64_t first = task / column_blocks % pixel_blocks * kBlockPixels;
    const int64_t column = task % column_blocks * kBlockColumns, channel = frame % conv.groups * width + column;
    const int64_t pixels = std::min(kBlockPixels, conv.out_pixels - first);
    const int64_t columns = std::min(kBlockColumns, width - column);
    std::vector<const float*> frames;
    for (int64_t i = 0; i < conv.kernel_time; ++i)
      frames.push_back(x.frame(conv.time_stride * (step + 1) + i - conv.kernel_time));
    float* block = y.frame(frame) + first * width + column;
    convolve(conv, frames.data(), first, pixels, columns, weight + channel * conv.depth(), {block, width});
    const float* added = residual.base ? residual.frame(frame) + first * width + column : nullptr;
    for (int64_t i = 0; i < pixels; ++i)  // while the block is in cache
      finish(columns, bias ? bias + channel : nullptr, added ? added + i * width : nullptr, relu, block + i * width);
  });
}

}  // namespace penstock::ops
