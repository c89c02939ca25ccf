// cuBLASLt, found at run time like the driver: its functions and constants with types declared here.
#pragma once

#include <cstdint>
#include <string>

#include "engine/cuda/driver.h"

namespace penstock::cuda {

using BlasHandle = void*;  // of cuBLASLt itself or of one of its descriptors

// Values of cuBLASLt's enumerations (cublasLt.h, CUDA 13; tests/cuda/cublaslt_header.cpp compares them).
constexpr int kComputeF32 = 68, kRealBf16 = 14, kRealF32 = 0;
constexpr int kTranspose = 1;
enum class MatmulAttribute : int { kTransposeA = 3, kEpilogue = 7, kBiasPointer = 8, kBiasType = 26 };
enum Epilogue : uint32_t { kNoEpilogue = 1, kBias = 4, kGelu = 32 };
enum class MatmulPreference : int {
  kMostWorkspace = 1,
  kAlignmentA = 5,
  kAlignmentB = 6,
  kAlignmentC = 7,
  kAlignmentD = 8,
};

// One way to compute one product. Opaque; the same bytes mean the same to the same version on the same device.
struct MatmulAlgorithm {
  uint64_t data[8];
};

struct MatmulHeuristic {
  MatmulAlgorithm algorithm;
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
};

#define PENSTOCK_BLAS_FUNCTIONS(X)                                                                                     \
  X(cublasLtCreate, (BlasHandle*))                                                                                     \
  X(cublasLtDestroy, (BlasHandle))                                                                                     \
  X(cublasLtMatmulDescCreate, (BlasHandle*, int, int))                                                                 \
  X(cublasLtMatmulDescDestroy, (BlasHandle))                                                                           \
  X(cublasLtMatmulDescSetAttribute, (BlasHandle, MatmulAttribute, const void*, size_t))                                \
  X(cublasLtMatrixLayoutCreate, (BlasHandle*, int, uint64_t, uint64_t, int64_t))                                       \
  X(cublasLtMatrixLayoutDestroy, (BlasHandle))                                                                         \
  X(cublasLtMatmulPreferenceCreate, (BlasHandle*))                                                                     \
  X(cublasLtMatmulPreferenceDestroy, (BlasHandle))                                                                     \
  X(cublasLtMatmulPreferenceSetAttribute, (BlasHandle, MatmulPreference, const void*, size_t))                         \
  X(cublasLtMatmulAlgoGetHeuristic,                                                                                    \
    (BlasHandle, BlasHandle, BlasHandle, BlasHandle, BlasHandle, BlasHandle, BlasHandle, int, MatmulHeuristic*, int*)) \
  X(cublasLtMatmulAlgoCheck, (BlasHandle, BlasHandle, BlasHandle, BlasHandle, BlasHandle, BlasHandle,                  \
                              const MatmulAlgorithm*, MatmulHeuristic*))                                               \
  X(cublasLtMatmul,                                                                                                    \
    (BlasHandle, BlasHandle, const void*, const void*, BlasHandle, const void*, BlasHandle, const void*, const void*,  \
     BlasHandle, void*, BlasHandle, const MatmulAlgorithm*, void*, size_t, Stream))

struct BlasLtLibrary {
#define PENSTOCK_DECLARE(name, arguments) int(*name) arguments = nullptr;
  PENSTOCK_BLAS_FUNCTIONS(PENSTOCK_DECLARE)
#undef PENSTOCK_DECLARE
  size_t (*cublasLtGetVersion)() = nullptr;

  std::string problem;  // why it cannot be used; empty if it can
};

// Loaded once. PENSTOCK_CUBLASLT names another library than libcublasLt.so.13. Throws PENSTOCK_ERR_UNSUPPORTED if
// there is none.
const BlasLtLibrary& require_blas_lt();

// Throws PENSTOCK_ERR_DEVICE unless the call went well.
void check_blas(int status, const char* call);

// Calls a function by name and checks it.
#define PENSTOCK_BLAS(call, ...) \
  ::penstock::cuda::check_blas(::penstock::cuda::require_blas_lt().call(__VA_ARGS__), #call)

}  // namespace penstock::cuda
