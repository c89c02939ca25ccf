// The innermost loop of the project's own matrix products: a tile of C that stays in registers while A and B stream by,
// for the widest vectors of this processor.
#pragma once

#include <cstdint>

#include "engine/cpu/matmul.h"

namespace penstock {

constexpr int64_t kTileDepth = 256;               // k of one call at most: a panel of B is 32 KiB with AVX-512
constexpr int64_t kTileStride = kTileDepth + 16;  // floats between rows of A; a power of two would share cache sets
constexpr int kMaxTileRows = 12;
constexpr int kMaxTileColumns = 32;

struct RegisterTile {
  const char* instructions;
  int rows;
  int columns;
  // C[r, columns] (+)= A[r, k] panel[k, columns] for r rows: multiply[r - 1].
  using Multiply = void (*)(int64_t k, const float* a, const float* panel, float* c, int64_t stride, bool add);
  Multiply multiply[kMaxTileRows];
};

const RegisterTile& register_tile();

// Packs B[n, k]^T into consecutive panels, one for each tile.columns columns; the last one is filled up with zeros.
void pack_panels(const RegisterTile& tile, int64_t n, int64_t k, MatrixIn b, float* panels);

// C[rows, n] (+)= A[rows, k] B[n, k]^T for up to tile.rows rows of A, kTileStride floats apart, and B in panels.
void multiply_panels(const RegisterTile& tile, int64_t rows, int64_t n, int64_t k, const float* a, const float* panels,
                     MatrixOut c, Write write);

}  // namespace penstock
