#include "engine/cpu/register_tile.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/cpu/vector_math.h"

namespace penstock {
namespace {

using Vector4 = float __attribute__((vector_size(16)));
using Vector8 = float __attribute__((vector_size(32)));
using Vector16 = float __attribute__((vector_size(64)));

// Vectors travel by reference: returning one that the baseline does not have would change the calling convention.
template <typename Vector>
PENSTOCK_INLINE void load(const float* source, Vector& value) {
  std::memcpy(&value, source, sizeof value);
}

// C[kRows, two vectors] (+)= A[kRows, k] * panel[k, two vectors].
template <typename Vector, int kRows>
PENSTOCK_INLINE void multiply_tile(int64_t k, const float* a, const float* panel, float* c, int64_t stride, bool add) {
  constexpr int kLanes = sizeof(Vector) / sizeof(float);
  Vector sum[kRows][2] = {};
#pragma GCC unroll 4
  for (int64_t i = 0; i < k; ++i, panel += 2 * kLanes) {
    Vector b0, b1;
    load(panel, b0);
    load(panel + kLanes, b1);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] += a[r * kTileStride + i] * b0;
      sum[r][1] += a[r * kTileStride + i] * b1;
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

#ifdef __x86_64__
struct Avx512 {
  static constexpr int kRows = 12, kColumns = 32;
  template <int kTileRows>
  __attribute__((target("avx512f"))) static void multiply(int64_t k, const float* a, const float* panel, float* c,
                                                          int64_t stride, bool add) {
    multiply_tile<Vector16, kTileRows>(k, a, panel, c, stride, add);
  }
};

struct Avx2 {
  static constexpr int kRows = 6, kColumns = 16;
  template <int kTileRows>
  __attribute__((target("avx2,fma"))) static void multiply(int64_t k, const float* a, const float* panel, float* c,
                                                           int64_t stride, bool add) {
    multiply_tile<Vector8, kTileRows>(k, a, panel, c, stride, add);
  }
};
#endif

struct Baseline {
  static constexpr int kRows = 6, kColumns = 8;
  template <int kTileRows>
  static void multiply(int64_t k, const float* a, const float* panel, float* c, int64_t stride, bool add) {
    multiply_tile<Vector4, kTileRows>(k, a, panel, c, stride, add);
  }
};

template <typename Isa, int... kRowsLess1>
RegisterTile make_tile(const char* instructions, std::integer_sequence<int, kRowsLess1...>) {
  return {instructions, Isa::kRows, Isa::kColumns, {&Isa::template multiply<kRowsLess1 + 1>...}};
}

template <typename Isa>
RegisterTile make_tile(const char* instructions) {
  return make_tile<Isa>(instructions, std::make_integer_sequence<int, Isa::kRows>());
}

// panel[i, j] = b[j, i]: four rows by four columns of B at a time, by register shuffles.
void pack_transposed(int64_t k, int64_t n, MatrixIn b, float* panel, int64_t columns) {
  const int64_t full_k = k / 4 * 4;
  const int64_t full_n = n / 4 * 4;
  for (int64_t j = 0; j < full_n; j += 4) {
    const float* source = b.data + j * b.stride;
    for (int64_t i = 0; i < full_k; i += 4) {
      Vector4 r0, r1, r2, r3;
      load(source + i, r0);
      load(source + b.stride + i, r1);
      load(source + 2 * b.stride + i, r2);
      load(source + 3 * b.stride + i, r3);
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
      for (int64_t t = 0; t < 4; ++t) panel[i * columns + j + t] = source[t * b.stride + i];
  }
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = full_n; j < columns; ++j) panel[i * columns + j] = j < n ? b.data[j * b.stride + i] : 0.0f;
}

}  // namespace

const RegisterTile& register_tile() {
  static const RegisterTile chosen = [] {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) return make_tile<Avx512>("AVX-512");
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return make_tile<Avx2>("AVX2");
#endif
    return make_tile<Baseline>("baseline");
  }();
  return chosen;
}

void pack_panels(const RegisterTile& tile, int64_t n, int64_t k, MatrixIn b, float* panels) {
  for (int64_t j = 0; j < n; j += tile.columns)
    pack_transposed(k, std::min<int64_t>(tile.columns, n - j), {b.data + j * b.stride, b.stride}, panels + j * k,
                    tile.columns);
}

void multiply_panels(const RegisterTile& tile, int64_t rows, int64_t n, int64_t k, const float* a, const float* panels,
                     MatrixOut c, Write write) {
  const RegisterTile::Multiply multiply = tile.multiply[rows - 1];
  const int64_t width = tile.columns, full = n / width * width;
  const bool add = write == Write::kAdd;
  for (int64_t j = 0; j < full; j += width) multiply(k, a, panels + j * k, c.data + j, c.stride, add);
  if (full == n) return;
  alignas(64) float corner[kMaxTileRows * kMaxTileColumns];  // the last panel is wider than C
  multiply(k, a, panels + full * k, corner, width, false);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = full; j < n; ++j) {
      float& target = c.data[r * c.stride + j];
      target = corner[r * width + j - full] + (add ? target : 0.0f);
    }
}

}  // namespace penstock
