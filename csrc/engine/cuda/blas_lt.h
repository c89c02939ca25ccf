// Matrix products by cuBLASLt.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "engine/cuda/blas_lt_library.h"
#include "engine/op.h"

namespace penstock::cuda {

// What an algorithm is chosen for: all bf16, row-major, without gaps. `alignment`: bytes, of the operand with the
// least, at most kTensorAlignment.
struct ProductShape {
  int64_t m = 0, n = 0, k = 0;
  bool bias = false, gelu = false;
  int64_t alignment = 0;

  bool operator<(const ProductShape& other) const {
    return std::tie(m, n, k, bias, gelu, alignment) <
           std::tie(other.m, other.n, other.k, other.bias, other.gelu, other.alignment);
  }
};

// y [M, N] = act(x [M, K] weight [N, K]^T + bias [N]), all bf16 and row-major; bias may be null. gelu: the tanh form.
struct MatrixProduct {
  int64_t m = 0, n = 0, k = 0;
  const void* x = nullptr;
  const void* weight = nullptr;
  const void* bias = nullptr;
  void* y = nullptr;
  bool gelu = false;

  ProductShape shape() const;
};

// Of the op gemm.
MatrixProduct product_of(const OpArgs& gemm);

class BlasLt {
 public:
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what NVIDIA advises on Hopper

  BlasLt();  // throws PENSTOCK_ERR_UNSUPPORTED if there is no cuBLASLt
  ~BlasLt();
  BlasLt(const BlasLt&) = delete;
  BlasLt& operator=(const BlasLt&) = delete;

  // Into the stream, by the algorithm chosen for the shape, or else by cuBLASLt's first guess, which then stays.
  // `workspace` has kWorkspaceBytes.
  void run(const MatrixProduct& product, void* workspace, Stream stream);

  // The algorithms that cuBLASLt thinks the fastest, best first: at least one, at most `most`.
  std::vector<MatmulAlgorithm> candidates(const MatrixProduct& product, int most);
  void run(const MatrixProduct& product, const MatmulAlgorithm& algorithm, void* workspace, Stream stream);

  bool has_choice(const ProductShape& shape) const { return chosen_.count(shape) > 0; }
  void choose(const ProductShape& shape, const MatmulAlgorithm& algorithm) { chosen_[shape] = algorithm; }

  // Whether cuBLASLt says that the algorithm can do the product within the workspace.
  bool is_able(const MatrixProduct& product, const MatmulAlgorithm& algorithm);

 private:
  struct Descriptors;
  const Descriptors& describe(const MatrixProduct& product);

  BlasHandle handle_ = nullptr;
  std::map<ProductShape, std::unique_ptr<Descriptors>> descriptors_;
  std::map<ProductShape, MatmulAlgorithm> chosen_;
};

}  // namespace penstock::cuda
