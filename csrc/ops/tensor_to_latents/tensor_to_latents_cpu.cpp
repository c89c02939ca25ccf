#include "ops/tensor_to_latents/tensor_to_latents.h"

#include "engine/frames.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void tensor_to_latents_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t frames = args.dim("F"), channels = args.dim("C"), rows = args.dim("y"), columns = args.dim("x");
  if (args.has("mean") != args.has("std"))
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "tensor_to_latents: mean and std must be given together");
  const auto x = frames_of<const float>(args, "x", "x_frame", frames);
  const float* mean = args.data<const float>("mean");
  const float* deviation = args.data<const float>("std");
  float* latents = args.data<float>("latents");

  pool.for_each(frames * rows, [&](int64_t task) {
    const int64_t frame = task / rows, row = task % rows;
    for (int64_t c = 0; c < channels; ++c) {
      const float* source = x.frame(frame) + row * columns * channels + c;
      float* target = latents + ((frame * channels + c) * rows + row) * columns;
      for (int64_t column = 0; column < columns; ++column) {
        const float v = source[column * channels];
        target[column] = mean ? (v - mean[c]) / deviation[c] : v;
      }
    }
  });
}

}  // namespace penstock::ops
