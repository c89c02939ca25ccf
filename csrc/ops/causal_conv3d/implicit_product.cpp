#include "ops/causal_conv3d/implicit_product.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "engine/cpu/float8.h"
#include "engine/cpu/register_tile.h"

namespace penstock::ops {
namespace {

// Where the first tap of position 0 is along one side, `shift` pixels into a block of doubled ones.
int64_t first_tap(const Conv& conv, int64_t kernel, int64_t shift) {
  return conv.stride == 1 ? (shift + 1 - kernel) >> 1 : 0;
}

// A part of what one row of taps sees: `count` values from a channel of one tap on, over the taps to its right.
template <typename T>
struct Piece {
  const T* frame;
  int64_t tap_y, tap_x, channel, count;
};

template <typename T>
struct Scratch {
  alignas(64) float weights[kTileDepth * kBlockColumns];
  alignas(64) float rows[kMaxTileRows * kTileStride];
  std::vector<float> decoded;  // weights of codes
  std::vector<Piece<T>> pieces;
};

void read(const float* source, int64_t count, float* target) {
  std::memcpy(target, source, static_cast<size_t>(count) * sizeof(float));
}

void read(const uint8_t* codes, int64_t count, float* target) {
  const float* values = e4m3_values();
  for (int64_t i = 0; i < count; ++i) target[i] = values[codes[i]];
}

// Values [begin, end) of what all taps see, by rows of taps; frames[i] is the input frame of tap i in time.
template <typename T>
void cut_pieces(const Conv& conv, const T* const* frames, int64_t begin, int64_t end, std::vector<Piece<T>>& pieces) {
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
template <typename T>
void gather_piece(const Conv& conv, const Piece<T>& piece, int64_t y, int64_t x, float* target) {
  const int64_t channels = conv.channels;
  y += piece.tap_y;
  if (!piece.frame || y < 0 || y >= conv.height) {
    std::fill_n(target, piece.count, 0.0f);
    return;
  }
  const T* row = piece.frame + y * conv.width * channels;
  const bool inside = x >= 0 && x + conv.kernel_width <= conv.width;
  x += piece.tap_x;
  if (inside) {
    read(row + x * channels + piece.channel, piece.count, target);
    return;
  }
  for (int64_t channel = piece.channel, left = piece.count; left > 0; channel = 0, ++x) {
    const int64_t count = std::min(left, channels - channel);
    if (x < 0 || x >= conv.width)
      std::fill_n(target, count, 0.0f);
    else
      read(row + x * channels + channel, count, target);
    target += count;
    left -= count;
  }
}

// What the taps see at `count` positions from `first`, one row of a tile for each.
template <typename T>
void gather(const Conv& conv, const std::vector<Piece<T>>& pieces, int64_t place, int64_t first, int64_t count,
            float* rows) {
  const int64_t top = first_tap(conv, conv.kernel_height, place / conv.upsample);
  const int64_t left = first_tap(conv, conv.kernel_width, place % conv.upsample);
  int64_t y = first / conv.columns, x = first % conv.columns;
  for (int64_t i = 0; i < count; ++i) {
    float* target = rows + i * kTileStride;
    for (const Piece<T>& piece : pieces) {
      gather_piece(conv, piece, y * conv.stride + top, x * conv.stride + left, target);
      target += piece.count;
    }
    if (++x == conv.columns) x = 0, ++y;
  }
}

// The weights of [begin, end) of the depth, as floats.
MatrixIn weights_of(const Block<float>& block, int64_t depth, int64_t begin, int64_t, std::vector<float>&) {
  return {block.weight + begin, depth};
}

MatrixIn weights_of(const Block<uint8_t>& block, int64_t depth, int64_t begin, int64_t end,
                    std::vector<float>& decoded) {
  const int64_t part = end - begin;
  decoded.resize(static_cast<size_t>(block.columns * part));
  for (int64_t i = 0; i < block.columns; ++i) read(block.weight + i * depth + begin, part, decoded.data() + i * part);
  return {decoded.data(), part};
}

}  // namespace

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

template <typename T>
void convolve(const Conv& conv, const Block<T>& block, MatrixOut c) {
  thread_local const auto scratch = std::make_unique<Scratch<T>>();
  const RegisterTile& tile = register_tile();
  const int64_t depth = conv.depth(), parts = (depth + kTileDepth - 1) / kTileDepth;
  const int64_t part = (depth + parts - 1) / parts;  // equal ones: a short last one would not pay
  for (int64_t begin = 0; begin < depth; begin += part) {
    const int64_t end = std::min(depth, begin + part);
    cut_pieces(conv, block.frames.data(), begin, end, scratch->pieces);
    pack_panels(tile, block.columns, end - begin, weights_of(block, depth, begin, end, scratch->decoded),
                scratch->weights);
    for (int64_t i = 0; i < block.pixels; i += tile.rows) {
      const int64_t rows = std::min<int64_t>(tile.rows, block.pixels - i);
      gather(conv, scratch->pieces, block.place, block.first + i, rows, scratch->rows);
      multiply_panels(tile, rows, block.columns, end - begin, scratch->rows, scratch->weights,
                      {c.data + i * c.stride, c.stride}, begin == 0 ? Write::kReplace : Write::kAdd);
    }
  }
}

template void convolve(const Conv& conv, const Block<float>& block, MatrixOut c);
template void convolve(const Conv& conv, const Block<uint8_t>& block, MatrixOut c);

}  // namespace penstock::ops
