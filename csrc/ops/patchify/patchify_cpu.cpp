#include "ops/patchify/patchify.h"

#include "engine/thread_pool.h"

namespace penstock::ops {

void patchify_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t images = args.dim("S") * args.dim("F"), channels = args.dim("C");
  const int64_t height = args.dim("h"), width = args.dim("w");
  const float* x = args.data<const float>("x");
  float* tokens = args.data<float>("tokens");

  pool.for_each(images * height, [&](int64_t token_row) {
    const int64_t image = token_row / height, row = token_row % height;
    for (int64_t c = 0; c < channels; ++c) {
      const float* top = x + ((image * channels + c) * 2 * height + 2 * row) * 2 * width;
      const float* bottom = top + 2 * width;
      for (int64_t column = 0; column < width; ++column) {
        float* patch = tokens + (token_row * width + column) * 4 * channels + 4 * c;
        patch[0] = top[2 * column];
        patch[1] = top[2 * column + 1];
        patch[2] = bottom[2 * column];
        patch[3] = bottom[2 * column + 1];
      }
    }
  });
}

}  // namespace penstock::ops
