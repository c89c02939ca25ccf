#include "ops/tensor_to_frames/tensor_to_frames.h"

#include <cmath>

#include "engine/cpu/vector_math.h"
#include "engine/frames.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

PENSTOCK_MULTIVERSION
void convert(int64_t count, const float* x, float offset, float scale, uint8_t* frame) {
  for (int64_t i = 0; i < count; ++i) {
    const float v = (x[i] + offset) * scale;
    const float positive = v > 0.0f ? v : 0.0f;  // false for NaN
    frame[i] = static_cast<uint8_t>(std::nearbyint(positive < 255.0f ? positive : 255.0f));
  }
}

}  // namespace

void tensor_to_frames_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t kept = args.dim("F"), skip = args.dim("skip"), rows = args.dim("Y"), width = args.dim("X") * 3;
  const auto x = frames_of<const float>(args, "x", "x_frame", args.dim("T"));
  uint8_t* frames = args.data<uint8_t>("frames");
  const bool is_signed = args.choice("range") == "signed";

  pool.for_each(kept * rows, [&](int64_t row) {
    convert(width, x.frame(skip + row / rows) + row % rows * width, is_signed ? 1.0f : 0.0f,
            is_signed ? 127.5f : 255.0f, frames + row * width);
  });
}

}  // namespace penstock::ops
