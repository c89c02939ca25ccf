// The project's own matrix product. B is packed into panels and A into rows of one fixed stride, blocks of K at a time;
// a register tile of C runs over the block.
#include "engine/cpu/matmul.h"

#ifndef PENSTOCK_HAVE_OPENBLAS

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "engine/cpu/register_tile.h"

namespace penstock {
namespace {

constexpr int64_t kBlockN = 512;

struct Scratch {
  alignas(64) float panels[kTileDepth * (kBlockN + kMaxTileColumns)];
  alignas(64) float rows[kMaxTileRows * kTileStride];
};

// Packs B[k, n] into panels as pack_panels does B[n, k]^T.
void pack_straight(const RegisterTile& tile, int64_t n, int64_t k, MatrixIn b, float* panels) {
  const int64_t width = tile.columns;
  for (int64_t j = 0; j < n; j += width, panels += k * width)
    for (int64_t i = 0; i < k; ++i) {
      const int64_t columns = std::min(width, n - j);
      std::memcpy(panels + i * width, b.data + i * b.stride + j, static_cast<size_t>(columns) * sizeof(float));
      std::fill(panels + i * width + columns, panels + (i + 1) * width, 0.0f);
    }
}

void multiply(bool transposed, int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, MatrixOut c, Write write) {
  thread_local const auto scratch = std::make_unique<Scratch>();
  const RegisterTile& tile = register_tile();
  for (int64_t j0 = 0; j0 < n; j0 += kBlockN) {
    const int64_t block_n = std::min(kBlockN, n - j0);
    for (int64_t k0 = 0; k0 < k; k0 += kTileDepth) {
      const int64_t block_k = std::min(kTileDepth, k - k0);
      if (transposed)
        pack_panels(tile, block_n, block_k, {b.data + j0 * b.stride + k0, b.stride}, scratch->panels);
      else
        pack_straight(tile, block_n, block_k, {b.data + k0 * b.stride + j0, b.stride}, scratch->panels);
      for (int64_t i0 = 0; i0 < m; i0 += tile.rows) {
        const int64_t rows = std::min<int64_t>(tile.rows, m - i0);
        for (int64_t r = 0; r < rows; ++r)
          std::memcpy(scratch->rows + r * kTileStride, a.data + (i0 + r) * a.stride + k0,
                      static_cast<size_t>(block_k) * sizeof(float));
        multiply_panels(tile, rows, block_n, block_k, scratch->rows, scratch->panels,
                        {c.data + i0 * c.stride + j0, c.stride}, k0 > 0 ? Write::kAdd : write);
      }
    }
  }
}

}  // namespace

void matmul_nt(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, MatrixOut c, Write write) {
  multiply(true, m, n, k, a, b, c, write);
}

void matmul_nn(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, MatrixOut c, Write write) {
  multiply(false, m, n, k, a, b, c, write);
}

const char* blas_name() {
  static const std::string name = std::string("plain, ") + register_tile().instructions;
  return name.c_str();
}

}  // namespace penstock

#endif  // PENSTOCK_HAVE_OPENBLAS
