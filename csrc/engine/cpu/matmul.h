// Matrix products on the calling thread. Ops cut their work into tiles over a ThreadPool and call these for each tile.
#pragma once

#include <cstdint>

namespace penstock {

// Row-major matrix inside a larger one: `stride` floats from one row to the next.
struct MatrixIn {
  const float* data;
  int64_t stride;
};

struct MatrixOut {
  float* data;
  int64_t stride;
};

enum class Write { kReplace, kAdd };

// C[m, n] = A[m, k] B[n, k]^T; kAdd adds the product to C.
void matmul_nt(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, MatrixOut c, Write write = Write::kReplace);

// C[m, n] = A[m, k] B[k, n]; kAdd adds the product to C.
void matmul_nn(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, MatrixOut c, Write write = Write::kReplace);

// What computes the products: "OpenBLAS 0.3.21", or "plain" and the instruction set of the project's own kernel.
const char* blas_name();

}  // namespace penstock
