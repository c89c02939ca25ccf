#include "ops/time_embed/time_embed.h"

#include <cmath>
#include <vector>

#include "engine/cpu/vector_math.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

constexpr int64_t kColumnsPerTask = 32;

std::vector<float> sinusoid(const float* timestep, int64_t slots, int64_t frequencies) {
  const int64_t half = frequencies / 2;
  std::vector<float> rows(static_cast<size_t>(slots * frequencies));
  for (int64_t s = 0; s < slots; ++s)
    for (int64_t j = 0; j < half; ++j) {
      const double angle = timestep[s] * std::pow(10000.0, -static_cast<double>(j) / static_cast<double>(half));
      rows[s * frequencies + j] = static_cast<float>(std::cos(angle));
      rows[s * frequencies + half + j] = static_cast<float>(std::sin(angle));
    }
  return rows;
}

std::vector<float> silu(std::vector<float> values) {
  for (float& value : values) value /= 1.0f + std::exp(-value);
  return values;
}

// A linear layer for a few rows: each weight row is read once for all of them.
std::vector<float> linear(const std::vector<float>& x, int64_t rows, int64_t depth, const float* weight,
                          const float* bias, int64_t columns, ThreadPool& pool) {
  std::vector<float> y(static_cast<size_t>(rows * columns));
  pool.for_ranges(columns, kColumnsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n)
      for (int64_t s = 0; s < rows; ++s)
        y[s * columns + n] = dot(x.data() + s * depth, weight + n * depth, depth) + bias[n];
  });
  return y;
}

// target[i, s] = table[i] + rows[s, i] for `parts` vectors i of a table.
void add_table(int64_t parts, int64_t slots, int64_t width, const float* table, const float* rows, int64_t row_stride,
               int64_t part_stride, float* target) {
  for (int64_t i = 0; i < parts; ++i)
    for (int64_t s = 0; s < slots; ++s)
      for (int64_t n = 0; n < width; ++n)
        target[(i * slots + s) * width + n] = table[i * width + n] + rows[s * row_stride + i * part_stride + n];
}

}  // namespace

void time_embed_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), width = args.dim("d"), frequencies = args.dim("Q"), blocks = args.dim("B");
  const auto in = [&](const char* role) { return args.data<const float>(role); };

  const std::vector<float> waves = sinusoid(in("timestep"), slots, frequencies);
  const std::vector<float> hidden =
      silu(linear(waves, slots, frequencies, in("fc1_weight"), in("fc1_bias"), width, pool));
  const std::vector<float> e = linear(hidden, slots, width, in("fc2_weight"), in("fc2_bias"), width, pool);
  const std::vector<float> projected =
      linear(silu(e), slots, width, in("proj_weight"), in("proj_bias"), 6 * width, pool);

  const float* tables = in("block_tables");
  float* modulation = args.data<float>("block_modulation");
  pool.for_each(blocks, [&](int64_t b) {
    add_table(6, slots, width, tables + b * 6 * width, projected.data(), 6 * width, width,
              modulation + b * 6 * slots * width);
  });
  add_table(2, slots, width, in("head_table"), e.data(), width, 0, args.data<float>("head_modulation"));
}

}  // namespace penstock::ops
