// Blocks of products (implicit_product.h), finished while they are in cache.
#include "ops/causal_conv3d/causal_conv3d.h"

#include <algorithm>
#include <vector>

#include "engine/cpu/float8.h"
#include "engine/cpu/pixels.h"
#include "engine/cpu/vector_math.h"
#include "engine/frames.h"
#include "engine/thread_pool.h"
#include "ops/causal_conv3d/implicit_product.h"
#include "ops/rms_silu/rms_silu.h"

namespace penstock::ops {
namespace {

// What becomes of the sums of a pixel; null where absent.
struct Finish {
  const float* scale;
  const float* bias;
  const float* residual;
  bool relu;
};

PENSTOCK_MULTIVERSION
void finish_pixel(int64_t count, const float* sums, Finish with, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = sums[i];
  if (with.scale)
    for (int64_t i = 0; i < count; ++i) y[i] *= with.scale[i];
  if (with.bias)
    for (int64_t i = 0; i < count; ++i) y[i] += with.bias[i];
  if (with.residual)
    for (int64_t i = 0; i < count; ++i) y[i] += with.residual[i];
  if (with.relu)
    for (int64_t i = 0; i < count; ++i) y[i] = y[i] < 0.0f ? 0.0f : y[i];
}

PENSTOCK_MULTIVERSION
void activate(int64_t count, const float* x, bool silu, float* y) {
  if (silu)
    for (int64_t i = 0; i < count; ++i) y[i] = x[i] / (1.0f + fast_exp(-x[i]));
  else
    for (int64_t i = 0; i < count; ++i) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

// y = act(raw), or act(norm(raw) gamma) of whole pixels; y may be raw.
void normalize_and_activate(const OpArgs& args, int64_t pixels, const float* raw, float* y) {
  const int64_t channels = args.dim("O");
  const float* gamma = args.data<const float>("gamma");
  const std::string& activation = args.choice("activation");
  if (gamma) normalize_pixels(pixels, channels, raw, gamma, activation == "silu", y);
  if (gamma && activation != "relu") return;
  if (activation != "none")
    activate(pixels * channels, gamma ? y : raw, activation == "silu", y);
  else if (y != raw)
    std::copy_n(raw, pixels * channels, y);
}

int64_t halo_of(const OpArgs& args) { return args.dim("kt") - args.dim("d"); }

bool is_signed(const OpArgs& args, const char* range) { return args.choice(range) == "signed"; }

// The new frames, which are pixels, as numbers: behind the earlier ones in past, or in `numbers`.
FrameRing<const float> read_frames(const OpArgs& args, std::vector<float>& numbers, ThreadPool& pool) {
  const int64_t frames = args.dim("T");
  const auto pixels = frames_of<const uint8_t>(args, "x", "", frames);
  FrameRing<float> x{};
  if (args.has("past")) {
    x = frames_of<float>(args, "past", "x_frame", frames, halo_of(args));
  } else {
    numbers.resize(static_cast<size_t>(frames * pixels.frame_elements));
    x = {numbers.data(), frames, pixels.frame_elements, 0, false};
  }
  const int64_t rows = args.tensor("x").shape[1], row = pixels.frame_elements / rows;
  pool.for_each(frames * rows, [&](int64_t index) {
    const int64_t frame = index / rows, first = index % rows * row;
    read_pixels(row, pixels.frame(frame) + first, {is_signed(args, "x_range")}, x.frame(frame) + first);
  });
  return {x.base, x.frames, x.frame_elements, x.first, x.is_ring};
}

// The op with its tensors. T: of x and weight, float or codes.
template <typename T>
struct BoundConv {
  BoundConv(const OpArgs& args, const FrameRing<const T>& x)
      : args(args),
        conv(conv_of(args)),
        out_frames(args.dim("T") / conv.time_stride * conv.groups),
        x(x),
        pixel_blocks((conv.positions + kBlockPixels - 1) / kBlockPixels),
        places(conv.upsample * conv.upsample) {
    if (args.has("residual")) residual = frames_of<const float>(args, "residual", "residual_frame", out_frames);
  }

  // Pixel block `index` of a place in an output frame, channels from `column`.
  Block<T> block(int64_t frame, int64_t place, int64_t index, int64_t column) const {
    Block<T> result{};
    result.place = place;
    result.first = index * kBlockPixels;
    result.pixels = std::min(kBlockPixels, conv.positions - result.first);
    result.columns = std::min(kBlockColumns, conv.out_channels - column);
    result.weight = args.data<const T>("weight") + (weight_row(frame, place) + column) * conv.depth();
    const int64_t step = frame / conv.groups;
    for (int64_t i = 0; i < conv.kernel_time; ++i)
      result.frames.push_back(x.frame(conv.time_stride * (step + 1) + i - conv.kernel_time));
    return result;
  }

  // How the channels from `column` of an output pixel are finished.
  Finish finish(int64_t frame, int64_t place, int64_t column, int64_t pixel, bool relu) const {
    const float *scale = args.data<const float>("sum_scale"), *bias = args.data<const float>("bias");
    return {scale ? scale + weight_row(frame, place) + column : nullptr,
            bias ? bias + frame % conv.groups * conv.out_channels + column : nullptr,
            residual.base ? residual.frame(frame) + pixel * conv.out_channels + column : nullptr, relu};
  }

  int64_t weight_row(int64_t frame, int64_t place) const {
    return (place * conv.groups + frame % conv.groups) * conv.out_channels;
  }

  const OpArgs& args;
  const Conv conv;
  const int64_t out_frames;
  const FrameRing<const T> x;
  FrameRing<const float> residual{};
  const int64_t pixel_blocks, places;
};

// raw, or y where nothing is left to do with it: a task for every block. Neighbouring pixels are summed where they
// belong, those of a doubled picture beside it, since they do not lie side by side.
template <typename T>
void write_sums(const BoundConv<T>& bound, const FrameRing<float>& sums, bool relu, ThreadPool& pool) {
  const Conv& conv = bound.conv;
  const int64_t column_blocks = (conv.out_channels + kBlockColumns - 1) / kBlockColumns;
  const int64_t frame_blocks = bound.pixel_blocks * bound.places * column_blocks;
  pool.for_each(bound.out_frames * frame_blocks, [&](int64_t task) {
    thread_local std::vector<float> apart;
    const int64_t frame = task / frame_blocks, column = task % column_blocks * kBlockColumns;
    const int64_t place = task / column_blocks % bound.places;
    const Block<T> block =
        bound.block(frame, place, task / (column_blocks * bound.places) % bound.pixel_blocks, column);
    float* y = sums.frame(frame) + column;
    MatrixOut made{y + block.first * conv.out_channels, conv.out_channels};
    if (conv.upsample > 1) {
      apart.resize(static_cast<size_t>(kBlockPixels * kBlockColumns));
      made = {apart.data(), kBlockColumns};
    }
    convolve(conv, block, made);
    for (int64_t i = 0; i < block.pixels; ++i) {  // while the block is in cache
      const int64_t pixel = conv.out_pixel(place, block.first + i);
      finish_pixel(block.columns, made.data + i * made.stride, bound.finish(frame, place, column, pixel, relu),
                   y + pixel * conv.out_channels);
    }
  });
}

// y = act(raw), or act(norm(raw) gamma), whose pixels are complete; y may be raw.
void finish_frames(const OpArgs& args, const FrameRing<float>& raw, const FrameRing<float>& y, int64_t frames,
                   ThreadPool& pool) {
  const int64_t channels = args.dim("O"), pixels = y.frame_elements / channels;
  const int64_t blocks = (pixels + kBlockPixels - 1) / kBlockPixels;
  pool.for_each(frames * blocks, [&](int64_t task) {
    const int64_t frame = task / blocks, first = task % blocks * kBlockPixels;
    normalize_and_activate(args, std::min(kBlockPixels, pixels - first), raw.frame(frame) + first * channels,
                           y.frame(frame) + first * channels);
  });
}

// Bytes of y for `count` numbers, which are 8-bit floats in units of 1 / one, or pixels.
void encode(const OpArgs& args, int64_t count, const float* numbers, float one, uint8_t* y) {
  if (args.has("y_scale"))
    encode_row_e4m3(numbers, count, one, y);
  else
    write_pixels(count, numbers, {is_signed(args, "y_range")}, y);
}

// y in bytes, and raw: a task for all channels of a block of pixels, whose numbers are nowhere else.
template <typename T>
void write_bytes(const BoundConv<T>& bound, ThreadPool& pool) {
  const OpArgs& args = bound.args;
  const Conv& conv = bound.conv;
  const int64_t channels = conv.out_channels, frame_blocks = bound.pixel_blocks * bound.places;
  const auto y = frames_of<uint8_t>(args, "y", "y_frame", bound.out_frames);
  FrameRing<float> raw{};
  if (args.has("raw")) raw = frames_of<float>(args, "raw", "raw_frame", bound.out_frames);
  const float one = args.has("y_scale") ? 1.0f / args.data<const float>("y_scale")[0] : 1.0f;
  pool.for_each(bound.out_frames * frame_blocks, [&](int64_t task) {
    thread_local std::vector<float> rows;
    rows.resize(static_cast<size_t>(kBlockPixels * channels));
    const int64_t frame = task / frame_blocks, place = task % bound.places, index = task / bound.places;
    int64_t first = 0, pixels = 0;
    for (int64_t column = 0; column < channels; column += kBlockColumns) {
      const Block<T> block = bound.block(frame, place, index % bound.pixel_blocks, column);
      first = block.first, pixels = block.pixels;
      convolve(conv, block, {rows.data() + column, channels});
      for (int64_t i = 0; i < pixels; ++i) {
        float* sums = rows.data() + i * channels + column;
        const int64_t pixel = conv.out_pixel(place, first + i);
        finish_pixel(block.columns, sums, bound.finish(frame, place, column, pixel, false), sums);
      }
    }
    for (int64_t i = 0; raw.base && i < pixels; ++i)
      std::copy_n(rows.data() + i * channels, channels, raw.frame(frame) + conv.out_pixel(place, first + i) * channels);
    normalize_and_activate(args, pixels, rows.data(), rows.data());
    for (int64_t i = 0; i < pixels; ++i)
      encode(args, channels, rows.data() + i * channels, one,
             y.frame(frame) + conv.out_pixel(place, first + i) * channels);
  });
}

template <typename T>
void run(const OpArgs& args, const FrameRing<const T>& x, ThreadPool& pool) {
  const BoundConv<T> bound(args, x);
  if (args.has("y_scale") || args.integer("y_range") > 0) return write_bytes(bound, pool);
  const auto y = frames_of<float>(args, "y", "y_frame", bound.out_frames);
  const auto sums = args.has("raw") ? frames_of<float>(args, "raw", "raw_frame", bound.out_frames) : y;
  // An activation without a norm and without raw is applied while the block is in cache.
  const bool is_one_pass = !args.has("raw") && !args.has("gamma") && args.choice("activation") != "silu";
  write_sums(bound, sums, is_one_pass && args.choice("activation") == "relu", pool);
  if (!is_one_pass) finish_frames(args, sums, y, bound.out_frames, pool);
}

}  // namespace

void causal_conv3d_cpu(const OpArgs& args, ThreadPool& pool) {
  thread_local std::vector<float> numbers;
  const int64_t frames = args.dim("T");
  if (args.has("sum_scale"))
    run(args, frames_of<const uint8_t>(args, "x", "x_frame", frames, halo_of(args)), pool);
  else if (args.integer("x_range") > 0)
    run(args, read_frames(args, numbers, pool), pool);
  else
    run(args, frames_of<const float>(args, "x", "x_frame", frames, halo_of(args)), pool);
}

}  // namespace penstock::ops
