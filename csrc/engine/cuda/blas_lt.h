// Matrix products by cuBLASLt, found at run time like the driver.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "engine/cuda/context.h"

namespace penstock::cuda {

// y [M, N] = act(x [M, K] weight [N, K]^T + bias [N]), all bf16 and row-major; bias may be null. gelu: the tanh form.
struct MatrixProduct {
  int64_t m = 0, n = 0, k = 0;
  const void* x = nullptr;
  const void* weight = nullptr;
  const void* bias = nullptr;
  void* y = nullptr;
  bool gelu = false;
};

class BlasLt {
 public:
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what NVIDIA advises on Hopper

  // PENSTOCK_CUBLASLT names another library than libcublasLt.so.13. Throws PENSTOCK_ERR_UNSUPPORTED if there is none.
  BlasLt();
  ~BlasLt();
  BlasLt(const BlasLt&) = delete;
  BlasLt& operator=(const BlasLt&) = delete;

  // Into the stream; `workspace` has kWorkspaceBytes.
  void run(const MatrixProduct& product, void* workspace, Stream stream);

 private:
  struct Plan;
  const Plan& plan_for(const MatrixProduct& product);

  using Key = std::tuple<int64_t, int64_t, int64_t, bool, bool>;  // M, N, K, bias, gelu
  void* handle_ = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace penstock::cuda
