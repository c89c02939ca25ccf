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
#include "ops/rms_silu/rms_silu.h"

namespace penstock::ops {
namespace {

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

// Where the first tap of position 0 is along one side, `shift` pixels into a block of doubled ones.
int64_t first_tap(const Conv& conv, int64_t kernel, int64_t shift) {
  return conv.stride == 1 ? (shift + 1 - kernel) >> 1 : 0;
}

Conv conv_of(const OpArgs& args) {
  Conv conv{};
  conv.stride = args.dim("s");
  conv.time_stride = args.dim("d");
  conv.groups = args.dim("g");
  conv.height = args.dim("P") * conv.stride;
  conv.width = args.dim("Q") * conv.stride;
  conv.channels = args.dim("I");
  conv.columns = args.dim("Q");
  conv.positions = args.dim("P") * conv.columns;
  conv.upsample = args.dim("u");
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

// What a piece sees where the first tap of the kernel is at (y, x).
void gather_piece(const Conv& conv, const Piece& piece, int64_t y, int64_t x, float* target) {
  const int64_t channels = conv.channels;
  y += piece.tap_y;
  if (!piece.frame || y < 0 || y >= conv.height) {
    std::fill_n(target, piece.count, 0.0f);
    return;
  }
  const float* row = piece.frame + y * conv.width * channels;
  const bool inside = x >= 0 && x + conv.kernel_width <= conv.width;
  x += piece.tap_x;
  if (inside) {
    std::memcpy(target, row + x * channels + piece.channel, static_cast<size_t>(piece.count) * sizeof(float));
    return;
  }
  for (int64_t channel = piece.channel, left = piece.count; left > 0; channel = 0, ++x) {
    const int64_t count = std::min(left, channels - channel);
    if (x < 0 || x >= conv.width)
      std::fill_n(target, count, 0.0f);
    else
      std::memcpy(target, row + x * channels + channel, static_cast<size_t>(count) * sizeof(float));
    target += count;
    left -= count;
  }
}

// One block of a convolution: pixels of one place in an output frame.
struct Block {
  std::vector<const float*> frames;  // the input frame of every tap in time; null for zeros
  int64_t place, first, pixels;      // of positions
  int64_t columns;
  const float* weight;  // [columns, depth]
};

// What the taps see at `count` positions from `first`, one row of a tile for each.
void gather(const Conv& conv, const std::vector<Piece>& pieces, int64_t place, int64_t first, int64_t count,
            float* rows) {
  const int64_t top = first_tap(conv, conv.kernel_height, place / conv.upsample);
  const int64_t left = first_tap(conv, conv.kernel_width, place % conv.upsample);
  int64_t y = first / conv.columns, x = first % conv.columns;
  for (int64_t i = 0; i < count; ++i) {
    float* target = rows + i * kTileStride;
    for (const Piece& piece : pieces) {
      gather_piece(conv, piece, y * conv.stride + top, x * conv.stride + left, target);
      target += piece.count;
    }
    if (++x == conv.columns) x = 0, ++y;
  }
}

// C[pixels, columns] = what the taps see of the block's pixels, times weight[columns, depth]^T.
void convolve(const Conv& conv, const Block& block, MatrixOut c) {
  thread_local const auto scratch = std::make_unique<Scratch>();
  const RegisterTile& tile = register_tile();
  const int64_t depth = conv.depth(), parts = (depth + kTileDepth - 1) / kTileDepth;
  const int64_t part = (depth + parts - 1) / parts;  // equal ones: a short last one would not pay
  for (int64_t begin = 0; begin < depth; begin += part) {
    const int64_t end = std::min(depth, begin + part);
    cut_pieces(conv, block.frames.data(), begin, end, scratch->pieces);
    pack_panels(tile, block.columns, end - begin, {block.weight + begin, depth}, scratch->weights);
    for (int64_t i = 0; i < block.pixels; i += tile.rows) {
      const int64_t rows = std::min<int64_t>(tile.rows, block.pixels - i);
      gather(conv, scratch->pieces, block.place, block.first + i, rows, scratch->rows);
      multiply_panels(tile, rows, block.columns, end - begin, scratch->rows, scratch->weights,
                      {c.data + i * c.stride, c.stride}, begin == 0 ? Write::kReplace : Write::kAdd);
    }
  }
}

// What is added to the sums of an output frame; null where absent.
struct Finish {
  const float* bias;
  const float* residual;
  bool relu;
};

PENSTOCK_MULTIVERSION
void finish_pixel(int64_t count, const float* sums, Finish with, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = sums[i];
  if (with.bias)
    for (int64_t i = 0; i < count; ++i) y[i] += with.bias[i];
  if (with.residual)
    for (int64_t i = 0; i < count; ++i) y[i] += with.residual[i];
  if (with.relu)
    for (int64_t i = 0; i < count; ++i) y[i] = y[i] < 0.0f ? 0.0f : y[i];
}

// A block of an output frame; y, bias and residual begin at its first column. Neighbouring pixels are summed where they
// belong, those of a doubled picture beside it, since they do not lie side by side.
void write_block(const Conv& conv, const Block& block, Finish with, float* y) {
  thread_local std::vector<float> apart;
  MatrixOut sums{y + block.first * conv.out_channels, conv.out_channels};
  if (conv.upsample > 1) {
    apart.resize(static_cast<size_t>(kBlockPixels * kBlockColumns));
    sums = {apart.data(), kBlockColumns};
  }
  convolve(conv, block, sums);
  for (int64_t i = 0; i < block.pixels; ++i) {  // while the block is in cache
    const int64_t offset = conv.out_pixel(block.place, block.first + i) * conv.out_channels;
    const Finish pixel{with.bias, with.residual ? with.residual + offset : nullptr, with.relu};
    finish_pixel(block.columns, sums.data + i * sums.stride, pixel, y + offset);
  }
}

PENSTOCK_MULTIVERSION
void activate(int64_t count, const float* x, bool silu, float* y) {
  if (silu)
    for (int64_t i = 0; i < count; ++i) y[i] = x[i] / (1.0f + fast_exp(-x[i]));
  else
    for (int64_t i = 0; i < count; ++i) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

// y = act(raw), or act(norm(raw) gamma), whose pixels are complete; y may be raw.
void finish_frames(const OpArgs& args, const FrameRing<float>& raw, const FrameRing<float>& y, int64_t frames,
                   ThreadPool& pool) {
  const int64_t channels = args.dim("O"), pixels = y.frame_elements / channels;
  const int64_t blocks = (pixels + kBlockPixels - 1) / kBlockPixels;
  const float* gamma = args.data<const float>("gamma");
  const std::string& activation = args.choice("activation");
  pool.for_each(frames * blocks, [&](int64_t task) {
    const int64_t frame = task / blocks, first = task % blocks * kBlockPixels;
    const int64_t count = std::min(kBlockPixels, pixels - first);
    const float* from = raw.frame(frame) + first * channels;
    float* to = y.frame(frame) + first * channels;
    if (gamma) normalize_pixels(count, channels, from, gamma, activation == "silu", to);
    if (gamma && activation != "relu") return;
    if (activation == "none")
      std::copy_n(from, count * channels, to);
    else
      activate(count * channels, gamma ? to : from, activation == "silu", to);
  });
}

}  // namespace

void causal_conv3d_cpu(const OpArgs& args, ThreadPool& pool) {
  const Conv conv = conv_of(args);
  const int64_t steps = args.dim("T") / conv.time_stride, out_frames = steps * conv.groups, width = conv.out_channels;
  const auto x = frames_of<const float>(args, "x", "x_frame", args.dim("T"), conv.kernel_time - conv.time_stride);
  const auto y = frames_of<float>(args, "y", "y_frame", out_frames);
  FrameRing<const float> residual{};
  if (args.has("residual")) residual = frames_of<const float>(args, "residual", "residual_frame", out_frames);
  const auto sums = args.has("raw") ? frames_of<float>(args, "raw", "raw_frame", out_frames) : y;
  const float* weight = args.data<const float>("weight");
  const float* bias = args.data<const float>("bias");
  // An activation without a norm and without raw is applied while the block is in cache.
  const bool is_one_pass = !args.has("raw") && !args.has("gamma") && args.choice("activation") != "silu";

  const int64_t column_blocks = (width + kBlockColumns - 1) / kBlockColumns;
  const int64_t pixel_blocks = (conv.positions + kBlockPixels - 1) / kBlockPixels;
  const int64_t places = conv.upsample * conv.upsample, frame_blocks = pixel_blocks * places * column_blocks;
  pool.for_each(out_frames * frame_blocks, [&](int64_t task) {
    const int64_t frame = task / frame_blocks, step = frame / conv.groups, group = frame % conv.groups;
    const int64_t column = task % column_blocks * kBlockColumns;
    Block block{};
    block.place = task / column_blocks % places;
    block.first = task / (column_blocks * places) % pixel_blocks * kBlockPixels;
    block.pixels = std::min(kBlockPixels, conv.positions - block.first);
    block.columns = std::min(kBlockColumns, width - column);
    block.weight = weight + ((block.place * conv.groups + group) * width + column) * conv.depth();
    for (int64_t i = 0; i < conv.kernel_time; ++i)
      block.frames.push_back(x.frame(conv.time_stride * (step + 1) + i - conv.kernel_time));
    const Finish with{bias ? bias + group * width + column : nullptr,
                      residual.base ? residual.frame(frame) + column : nullptr,
                      is_one_pass && args.choice("activation") == "relu"};
    write_block(conv, block, with, sums.frame(frame) + column);
  });
  if (!is_one_pass) finish_frames(args, sums, y, out_frames, pool);
}

}  // namespace penstock::ops
