#include "ops/gate_residual_layernorm/gate_residual_layernorm.h"

#include "engine/cpu/row_norm.h"
#include "engine/cpu/vector_math.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

PENSTOCK_MULTIVERSION
void add_row(int64_t count, const float* update, float* x) {
  for (int64_t i = 0; i < count; ++i) x[i] += update[i];
}

PENSTOCK_MULTIVERSION
void add_gated_row(int64_t count, const float* gate, const float* update, float* x) {
  for (int64_t i = 0; i < count; ++i) x[i] += gate[i] * update[i];
}

}  // namespace

void gate_residual_layernorm_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t rows = args.dim("M"), width = args.dim("d");
  float* x = args.data<float>("x");
  const float* update = args.data<const float>("update");
  const float* gate = args.data<const float>("gate");
  const float* scale = args.data<const float>("scale");
  const float* shift = args.data<const float>("shift");
  float* y = args.data<float>("y");
  const float eps = args.real("eps");
  const float offset = args.choice("norm") == "modulate" ? 1.0f : 0.0f;
  const int64_t rows_per_gate = gate ? rows / args.dim("S") : rows;
  const int64_t rows_per_norm = rows / args.dim("R");

  pool.for_ranges(rows, 32, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      float* row = x + m * width;
      if (gate)
        add_gated_row(width, gate + m / rows_per_gate * width, update + m * width, row);
      else
        add_row(width, update + m * width, row);
      const int64_t norm = m / rows_per_norm * width;
      layernorm_row(width, row, eps, offset, scale + norm, shift + norm, y + m * width);
    }
  });
}

}  // namespace penstock::ops
