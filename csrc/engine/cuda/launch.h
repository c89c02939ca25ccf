// What an op's CUDA implementation works with: it launches kernels into a stream, which the backend captures.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/cuda/blas_lt.h"
#include "engine/cuda/kernel_library.h"
#include "engine/op.h"

namespace penstock::cuda {

class Launcher;

struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

// One launch: parameters in the kernel's order, then run. Each is checked against what the kernel was compiled for.
class Launch {
 public:
  Launch(const LoadedKernel& loaded, Stream stream) : loaded_(loaded), stream_(stream) {}

  // A compile-time constant of the variant, which the grid depends on.
  int64_t constant(std::string_view name) const;

  // A tensor's address; for an absent optional role, whose kernel variant does not touch it, null.
  Launch& pointer(const TensorView& tensor);
  Launch& pointer(const void* address);
  Launch& integer(int64_t value);
  Launch& real(float value);
  Launch& tensor_map(const TiledTensor& tensor);
  void run(Grid grid);

 private:
  const Parameter& next(ParameterType a, ParameterType b);
  void check_alignment(const Parameter& parameter, const void* address) const;
  template <typename T>
  void pack(T value);

  LoadedKernel loaded_;
  Stream stream_;
  std::vector<TensorMap> values_;  // one slot per parameter, as large as the largest
};

class Launcher {
 public:
  Launcher(KernelLibrary& kernels, BlasLt& blas, Stream stream, void* workspace, size_t workspace_bytes,
           int multiprocessors)
      : kernels_(kernels),
        blas_(blas),
        stream_(stream),
        workspace_(workspace),
        workspace_bytes_(workspace_bytes),
        multiprocessors_(multiprocessors) {}

  // A launch of the kernel's variant for these shapes and flags.
  Launch kernel(std::string_view name, const Numbers& shape = {}) {
    return Launch(kernels_.find(name, shape), stream_);
  }
  bool has_kernel(std::string_view name, const Numbers& shape) const { return kernels_.has(name, shape); }
  int architecture() const { return kernels_.architecture(); }  // 90 for compute capability 9.0
  BlasLt& blas() { return blas_; }
  Stream stream() const { return stream_; }
  int multiprocessors() const { return multiprocessors_; }  // of the device, at least 1

  // Device memory for the op at hand, shared by all ops of a stream; its content does not outlive the op. Throws
  // PENSTOCK_ERR_INTERNAL if it is more than the backend has.
  void* workspace(size_t bytes) const;

 private:
  KernelLibrary& kernels_;
  BlasLt& blas_;
  Stream stream_;
  void* workspace_;
  size_t workspace_bytes_;
  int multiprocessors_;
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline int64_t next_power_of_2(int64_t value) {
  int64_t power = 1;
  while (power < value) power *= 2;
  return power;
}

}  // namespace penstock::cuda
