#include "ops/rms_norm/rms_norm.h"

#include "engine/cpu/row_norm.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void rms_norm_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t rows = args.dim("M"), width = args.dim("d");
  const float* x = args.data<const float>("x");
  const float* weight = args.data<const float>("weight");
  float* y = args.data<float>("y");
  const float eps = args.real("eps");

  pool.for_ranges(rows, 32, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) rms_norm_row(width, x + m * width, eps, weight, y + m * width);
  });
}

}  // namespace penstock::ops
