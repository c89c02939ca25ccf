#include "ops/rms_silu/rms_silu.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/cpu/float8.h"
#include "engine/cpu/vector_math.h"
#include "engine/frames.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

constexpr int64_t kPixels = 256;

}  // namespace

PENSTOCK_MULTIVERSION
void normalize_pixels(int64_t pixels, int64_t channels, const float* x, const float* gamma, bool silu, float* y) {
  const float root = std::sqrt(static_cast<float>(channels));
  for (int64_t i = 0; i < pixels; ++i, x += channels, y += channels) {
    float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < channels; ++c) squares += x[c] * x[c];
    const float norm = std::sqrt(squares);
    const float scale = root / (norm < 1e-12f ? 1e-12f : norm);
    if (silu) {
      for (int64_t c = 0; c < channels; ++c) {
        const float z = x[c] * scale * gamma[c];
        y[c] = z / (1.0f + fast_exp(-z));
      }
    } else {
      for (int64_t c = 0; c < channels; ++c) y[c] = x[c] * scale * gamma[c];
    }
  }
}

void rms_silu_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t frames = args.dim("T"), pixels = args.dim("P") * args.dim("Q"), channels = args.dim("C");
  const auto x = frames_of<const float>(args, "x", "x_frame", frames);
  const bool is_coded = args.has("y_scale");
  FrameRing<float> y{};
  FrameRing<uint8_t> codes{};
  if (is_coded)
    codes = frames_of<uint8_t>(args, "y", "y_frame", frames);
  else
    y = frames_of<float>(args, "y", "y_frame", frames);
  const float* gamma = args.data<const float>("gamma");
  const bool silu = args.choice("activation") == "silu";

  const int64_t blocks = (pixels + kPixels - 1) / kPixels;
  pool.for_each(frames * blocks, [&](int64_t task) {
    thread_local std::vector<float> rows;
    const int64_t frame = task / blocks, first = task % blocks * kPixels, count = std::min(kPixels, pixels - first);
    if (is_coded) rows.resize(static_cast<size_t>(kPixels * channels));
    float* made = is_coded ? rows.data() : y.frame(frame) + first * channels;
    normalize_pixels(count, channels, x.frame(frame) + first * channels, gamma, silu, made);
    if (is_coded)
      encode_row_e4m3(made, count * channels, 1.0f / args.data<const float>("y_scale")[0],
                      codes.frame(frame) + first * channels);
  });
}

}  // namespace penstock::ops
