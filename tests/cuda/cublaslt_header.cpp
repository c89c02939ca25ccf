// csrc/engine/cuda/blas_lt_library.h against cublasLt.h, likewise.
#include <cublasLt.h>

#include <cstddef>

#include "engine/cuda/blas_lt_library.h"
#include "headers.h"

namespace ours = penstock::cuda;
using namespace ours;

#define CHECK(name, arguments) static_assert(PassAlike<int(*) arguments, decltype(&::name)>::value, #name);
PENSTOCK_BLAS_FUNCTIONS(CHECK)
static_assert(PassAlike<decltype(BlasLtLibrary::cublasLtGetVersion), decltype(&::cublasLtGetVersion)>::value);

static_assert(kComputeF32 == CUBLAS_COMPUTE_32F && kRealBf16 == CUDA_R_16BF && kRealF32 == CUDA_R_32F);
static_assert(kTranspose == CUBLAS_OP_T);
static_assert(int(MatmulAttribute::kTransposeA) == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(int(MatmulAttribute::kEpilogue) == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(int(MatmulAttribute::kBiasPointer) == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(int(MatmulAttribute::kBiasType) == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
static_assert(int(kNoEpilogue) == CUBLASLT_EPILOGUE_DEFAULT && int(kBias) == CUBLASLT_EPILOGUE_BIAS);
static_assert(int(kGelu) == CUBLASLT_EPILOGUE_GELU && int(kGelu | kBias) == CUBLASLT_EPILOGUE_GELU_BIAS);
static_assert(int(MatmulPreference::kMostWorkspace) == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(int(MatmulPreference::kAlignmentA) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(int(MatmulPreference::kAlignmentB) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(int(MatmulPreference::kAlignmentC) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(int(MatmulPreference::kAlignmentD) == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);

static_assert(sizeof(MatmulAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(MatmulHeuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(MatmulHeuristic, workspace) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(MatmulHeuristic, status) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(offsetof(MatmulHeuristic, waves) == offsetof(cublasLtMatmulHeuristicResult_t, wavesCount));
