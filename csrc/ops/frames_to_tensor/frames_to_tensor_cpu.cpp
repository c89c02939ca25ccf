#include "ops/frames_to_tensor/frames_to_tensor.h"

#include "engine/cpu/vector_math.h"
#include "engine/frames.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

PENSTOCK_MULTIVERSION
void convert(int64_t count, const uint8_t* values, float divisor, float offset, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<float>(values[i]) / divisor - offset;
}

}  // namespace

void frames_to_tensor_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t frames = args.dim("T"), rows = args.dim("Y"), width = args.dim("X") * 3;
  const uint8_t* values = args.data<const uint8_t>("frames");
  const auto y = frames_of<float>(args, "y", "y_frame", frames);
  const bool is_signed = args.choice("range") == "signed";

  pool.for_each(frames * rows, [&](int64_t row) {
    convert(width, values + row * width, is_signed ? 127.5f : 255.0f, is_signed ? 1.0f : 0.0f,
            y.frame(row / rows) + row % rows * width);
  });
}

}  // namespace penstock::ops
