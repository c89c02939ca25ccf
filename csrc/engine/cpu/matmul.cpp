// The project's own matrix product. B is packed into panels of two vectors in width and A into rows of one fixed
// stride, blocks of K at a time; a register tile of C runs over the block.
#include "engine/cpu/matmul.h"

#ifndef PENSTOCK_HAVE_OPENBLAS

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "engine/cpu/vector_math.h"

namespace penstock {
namespace {

using Vector4 = float __attribute__((vector_size(16)));
using Vector8 = float __attribute__((vector_size(32)));
using Vector16 = float __attribute__((vector_size(64)));

constexpr int64_t kBlockK = 256;            // a panel of B is 32 KiB with AVX-512
constexpr int64_t kStrideA = kBlockK + 16;  // not a power of two: rows would share cache sets
constexpr int64_t kBlockN = 512;
constexpr int kMaxRows = 12;
constexpr int kMaxColumns = 32;

// Vectors travel by reference: returning one that the baseline does not have would change the calling convention.
template <typename Vector>
PENSTOCK_INLINE void load(const float* source, Vector& value) {
  std::memcpy(&value, source, sizeof value);
}

// C[kRows, two vectors] (+)= A[kRows, k] * panel[k, two vectors].
template <typename Vector, int kRows>
PENSTOCK_INLINE void register_tile(int64_t k, const float* a, const float* panel, float* c, int64_t stride, bool add) {
  constexpr int kLanes = sizeof(Vector) / sizeof(float);
  Vector sum[kRows][2] = {};
#pragma GCC unroll 4
  for (int64_t i = 0; i < k; ++i, panel += 2 * kLanes) {
    Vector b0, b1;
    load(panel, b0);
    load(panel + kLanes, b1);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] += a[r * kStrideA + i] * b0;
      sum[r][1] += a[r * kStrideA + i] * b1;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    float* row = c + r * stride;
    if (add) {
      Vector c0, c1;
      load(row, c0);
      load(row + kLanes, c1);
      sum[r][0] += c0;
      sum[r][1] += c1;
    }
    std::memcpy(row, &sum[r][0], sizeof(Vector));
    std::memcpy(row + kLanes, &sum[r][1], sizeof(Vector));
  }
}

using Tile = void (*)(int64_t k, const float* a, const float* panel, float* c, int64_t stride, bool add);

// The register tile of one instruction set: `rows` by `columns`, and a function for every smaller number of rows.
struct Kernel {
  const char* name;
  int rows;
  int columns;
  Tile tiles[kMaxRows];
};

#ifdef __x86_64__
struct Avx512 {
  static constexpr int kRows = 12, kColumns = 32;
  template <int kTileRows>
  __attribute__((target("avx512f"))) static void tile(int64_t k, const float* a, const float* panel, float* c,
                                                      int64_t stride, bool add) {
    register_tile<Vector16, kTileRows>(k, a, panel, c, stride, add);
  }
};

struct Avx2 {
  static constexpr int kRows = 6, kColumns = 16;
  template <int kTileRows>
  __attribute__((target("avx2,fma"))) static void tile(int64_t k, const float* a, const float* panel, float* c,
                                                       int64_t stride, bool add) {
    register_tile<Vector8, kTileRows>(k, a, panel, c, stride, add);
  }
};
#endif

struct Baseline {
  static constexpr int kRows = 6, kColumns = 8;
  template <int kTileRows>
  static void tile(int64_t k, const float* a, const float* panel, float* c, int64_t stride, bool add) {
    register_tile<Vector4, kTileRows>(k, a, panel, c, stride, add);
  }
};

template <typename Isa, int... kRowsLess1>
Kernel make_kernel(const char* name, std::integer_sequence<int, kRowsLess1...>) {
  return {name, Isa::kRows, Isa::kColumns, {&Isa::template tile<kRowsLess1 + 1>...}};
}

template <typename Isa>
Kernel make_kernel(const char* name) {
  return make_kernel<Isa>(name, std::make_integer_sequence<int, Isa::kRows>());
}

const Kernel& kernel() {
  static const Kernel chosen = [] {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) return make_kernel<Avx512>("plain, AVX-512");
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return make_kernel<Avx2>("plain, AVX2");
#endif
    return make_kernel<Baseline>("plain");
  }();
  return chosen;
}

// panel[i, j] = b[j, i]: four rows by four columns of B at a time, by register shuffles.
void pack_transposed(int64_t k, int64_t n, const float* b, int64_t stride, float* panel, int64_t columns) {
  const int64_t full_k = k / 4 * 4;
  const int64_t full_n = n / 4 * 4;
  for (int64_t j = 0; j < full_n; j += 4) {
    const float* source = b + j * stride;
    for (int64_t i = 0; i < full_k; i += 4) {
      Vector4 r0, r1, r2, r3;
      load(source + i, r0);
      load(source + stride + i, r1);
      load(source + 2 * stride + i, r2);
      load(source + 3 * stride + i, r3);
      const Vector4 low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
      const Vector4 low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
      const Vector4 high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
      const Vector4 high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
      const Vector4 out[4] = {
          __builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
          __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
      for (int t = 0; t < 4; ++t) std::memcpy(panel + (i + t) * columns + j, &out[t], sizeof(Vector4));
    }
    for (int64_t i = full_k; i < k; ++i)
      for (int64_t t = 0; t < 4; ++t) panel[i * columns + j + t] = source[t * stride + i];
  }
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = full_n; j < columns; ++j) panel[i * columns + j] = j < n ? b[j * stride + i] : 0.0f;
}

// Rows are copied by memmove: GCC inlines a memcpy of unknown size as a slow string instruction.
void pack_straight(int64_t k, int64_t n, const float* b, int64_t stride, float* panel, int64_t columns) {
  for (int64_t i = 0; i < k; ++i) {
    float* row = panel + i * columns;
    std::memmove(row, b + i * stride, static_cast<size_t>(n) * sizeof(float));
    std::fill(row + n, row + columns, 0.0f);
  }
}

struct Scratch {
  alignas(64) float panels[kBlockK * (kBlockN + kMaxColumns)];
  alignas(64) float rows[kMaxRows * kStrideA];
  alignas(64) float corner[kMaxRows * kMaxColumns];
};

// One row group of C times all packed panels. The last panel may be wider than C: it goes through `corner`.
void multiply_rows(const Kernel& kernel, int rows, int64_t n, int64_t k, Scratch& scratch, MatrixOut c, bool add) {
  const Tile tile = kernel.tiles[rows - 1];
  const int64_t width = kernel.columns;
  for (int64_t j = 0; j < n; j += width) {
    const float* panel = scratch.panels + j * k;
    if (n - j >= width) {
      tile(k, scratch.rows, panel, c.data + j, c.stride, add);
      continue;
    }
    tile(k, scratch.rows, panel, scratch.corner, width, false);
    for (int r = 0; r < rows; ++r)
      for (int64_t t = 0; t < n - j; ++t) {
        float& target = c.data[r * c.stride + j + t];
        target = scratch.corner[r * width + t] + (add ? target : 0.0f);
      }
  }
}

void multiply(bool transposed, int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, MatrixOut c, Write write) {
  thread_local const auto scratch = std::make_unique<Scratch>();
  const Kernel& chosen = kernel();
  for (int64_t j0 = 0; j0 < n; j0 += kBlockN) {
    const int64_t block_n = std::min(kBlockN, n - j0);
    for (int64_t k0 = 0; k0 < k; k0 += kBlockK) {
      const int64_t block_k = std::min(kBlockK, k - k0);
      for (int64_t j = 0; j < block_n; j += chosen.columns) {
        const int64_t columns = std::min<int64_t>(chosen.columns, block_n - j);
        float* panel = scratch->panels + j * block_k;
        if (transposed)
          pack_transposed(block_k, columns, b.data + (j0 + j) * b.stride + k0, b.stride, panel, chosen.columns);
        else
          pack_straight(block_k, columns, b.data + k0 * b.stride + j0 + j, b.stride, panel, chosen.columns);
      }
      for (int64_t i0 = 0; i0 < m; i0 += chosen.rows) {
        const int rows = static_cast<int>(std::min<int64_t>(chosen.rows, m - i0));
        for (int r = 0; r < rows; ++r)
          std::memmove(scratch->rows + r * kStrideA, a.data + (i0 + r) * a.stride + k0,
                       static_cast<size_t>(block_k) * sizeof(float));
        multiply_rows(chosen, rows, block_n, block_k, *scratch, {c.data + i0 * c.stride + j0, c.stride},
                      write == Write::kAdd || k0 > 0);
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

const char* blas_name() { return kernel().name; }

}  // namespace penstock

#endif  // PENSTOCK_HAVE_OPENBLAS
