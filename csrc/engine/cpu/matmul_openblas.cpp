// The matrix product by OpenBLAS, in builds that ask for it.
#include "engine/cpu/matmul.h"

#ifdef PENSTOCK_HAVE_OPENBLAS

#include <cblas.h>

#include <string>

namespace penstock {
namespace {

void sgemm(CBLAS_TRANSPOSE transpose_b, int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, MatrixOut c,
           Write write) {
  // The ThreadPool cuts the work; OpenBLAS must not start threads of its own.
  static const bool single = (openblas_set_num_threads(1), true);
  (void)single;
  const auto i = [](int64_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, transpose_b, i(m), i(n), i(k), 1.0f, a.data, i(a.stride), b.data,
              i(b.stride), write == Write::kAdd ? 1.0f : 0.0f, c.data, i(c.stride));
}

}  // namespace

void matmul_nt(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, MatrixOut c, Write write) {
  sgemm(CblasTrans, m, n, k, a, b, c, write);
}

void matmul_nn(int64_t m, int64_t n, int64_t k, MatrixIn a, MatrixIn b, MatrixOut c, Write write) {
  sgemm(CblasNoTrans, m, n, k, a, b, c, write);
}

const char* blas_name() {
  static const std::string name = [] {
    const std::string config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..."
    return config.substr(0, config.find(' ', config.find(' ') + 1));
  }();
  return name.c_str();
}

}  // namespace penstock

#endif  // PENSTOCK_HAVE_OPENBLAS
