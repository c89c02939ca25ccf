#include "ops/gemm/gemm.h"

#include <algorithm>

#include "engine/cpu/matmul.h"
#include "engine/cpu/vector_math.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

// Small enough to share among many cores; larger tiles are hardly faster.
constexpr int64_t kTileRows = 192;
constexpr int64_t kTileColumns = 128;

PENSTOCK_MULTIVERSION
void add_bias(int64_t count, const float* bias, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] += bias[i];
}

PENSTOCK_MULTIVERSION
void apply_gelu(int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = gelu_tanh(y[i]);
}

}  // namespace

void gemm_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t rows = args.dim("M"), columns = args.dim("N"), depth = args.dim("K");
  const float* x = args.data<const float>("x");
  const float* weight = args.data<const float>("weight");
  const float* bias = args.data<const float>("bias");
  float* y = args.data<float>("y");
  const bool gelu = args.choice("activation") == "gelu_tanh";

  const int64_t row_tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t column_tiles = (columns + kTileColumns - 1) / kTileColumns;
  pool.for_each(row_tiles * column_tiles, [&](int64_t tile) {
    const int64_t row = tile / column_tiles * kTileRows;
    const int64_t column = tile % column_tiles * kTileColumns;
    const int64_t height = std::min(kTileRows, rows - row);
    const int64_t width = std::min(kTileColumns, columns - column);
    float* target = y + row * columns + column;
    matmul_nt(height, width, depth, {x + row * depth, depth}, {weight + column * depth, depth}, {target, columns});
    for (int64_t i = 0; i < height; ++i) {  // while the tile is in cache
      if (bias) add_bias(width, bias + column, target + i * columns);
      if (gelu) apply_gelu(width, target + i * columns);
    }
  });
}

}  // namespace penstock::ops
