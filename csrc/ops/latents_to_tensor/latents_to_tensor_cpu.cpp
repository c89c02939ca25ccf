#include "ops/latents_to_tensor/latents_to_tensor.h"

#include <cmath>

#include "engine/frames.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void latents_to_tensor_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t frames = args.dim("F"), channels = args.dim("C"), rows = args.dim("y"), columns = args.dim("x");
  if (args.has("mean") != args.has("std"))
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "latents_to_tensor: mean and std must be given together");
  const float* latents = args.data<const float>("latents");
  const float* mean = args.data<const float>("mean");
  const float* deviation = args.data<const float>("std");
  const auto y = frames_of<float>(args, "y", "y_frame", frames);
  const bool clamp = args.choice("clamp") == "tanh3";

  pool.for_each(frames * rows, [&](int64_t task) {
    const int64_t frame = task / rows, row = task % rows;
    for (int64_t c = 0; c < channels; ++c) {
      const float* source = latents + ((frame * channels + c) * rows + row) * columns;
      float* target = y.frame(frame) + row * columns * channels + c;
      for (int64_t column = 0; column < columns; ++column) {
        const float v = mean ? source[column] * deviation[c] + mean[c] : source[column];
        target[column * channels] = clamp ? 3.0f * std::tanh(v / 3.0f) : v;
      }
    }
  });
}

}  // namespace penstock::ops
