#include "ops/unpatchify/unpatchify.h"

#include "engine/thread_pool.h"

namespace penstock::ops {

void unpatchify_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t images = args.dim("S") * args.dim("F"), channels = args.dim("C");
  const int64_t height = args.dim("h"), width = args.dim("w");
  const float* tokens = args.data<const float>("tokens");
  float* x = args.data<float>("x");

  pool.for_each(images * height, [&](int64_t token_row) {
    const int64_t image = token_row / height, row = token_row % height;
    for (int64_t c = 0; c < channels; ++c) {
      float* top = x + ((image * channels + c) * 2 * height + 2 * row) * 2 * width;
      float* bottom = top + 2 * width;
      for (int64_t column = 0; column < width; ++column) {
        const float* patch = tokens + (token_row * width + column) * 4 * channels + c;
        top[2 * column] = patch[0];
        top[2 * column + 1] = patch[channels];
        bottom[2 * column] = patch[2 * channels];
        bottom[2 * column + 1] = patch[3 * channels];
      }
    }
  });
}

}  // namespace penstock::ops
