#include "ops/layernorm_modulate/layernorm_modulate.h"

#include "engine/cpu/row_norm.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void layernorm_modulate_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t rows = args.dim("M"), width = args.dim("d"), rows_per_slot = rows / args.dim("S");
  const float* x = args.data<const float>("x");
  const float* shift = args.data<const float>("shift");
  const float* scale = args.data<const float>("scale");
  float* y = args.data<float>("y");
  const float eps = args.real("eps");

  pool.for_ranges(rows, 32, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      const int64_t slot = m / rows_per_slot;
      layernorm_row(width, x + m * width, eps, 1.0f, scale + slot * width, shift + slot * width, y + m * width);
    }
  });
}

}  // namespace penstock::ops
