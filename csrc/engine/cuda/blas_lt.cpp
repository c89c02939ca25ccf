#include "engine/cuda/blas_lt.h"

#include <dlfcn.h>

#include <cstdlib>
#include <utility>

#include "engine/error.h"

namespace penstock::cuda {
namespace {

// Values of cuBLASLt's enumerations (cublasLt.h, CUDA 13).
constexpr int kComputeF32 = 68, kRealBf16 = 14, kRealF32 = 0;
constexpr int kTranspose = 1;
enum DescriptorAttribute : int { kTransposeA = 3, kEpilogue = 7, kBiasPointer = 8, kBiasType = 26 };
enum Epilogue : uint32_t { kNoEpilogue = 1, kBias = 4, kGelu = 32 };
constexpr int kMostWorkspace = 1;  // attribute of a preference

struct Algorithm {
  uint64_t data[8];
};

struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Heuristic) == 96, "the layout of cublasLtMatmulHeuristicResult_t");

using Handle = void*;

#define PENSTOCK_BLAS_FUNCTIONS(X)                                                                                    \
  X(cublasLtCreate, (Handle*))                                                                                        \
  X(cublasLtDestroy, (Handle))                                                                                        \
  X(cublasLtMatmulDescCreate, (Handle*, int, int))                                                                    \
  X(cublasLtMatmulDescDestroy, (Handle))                                                                              \
  X(cublasLtMatmulDescSetAttribute, (Handle, int, const void*, size_t))                                               \
  X(cublasLtMatrixLayoutCreate, (Handle*, int, uint64_t, uint64_t, int64_t))                                          \
  X(cublasLtMatrixLayoutDestroy, (Handle))                                                                            \
  X(cublasLtMatmulPreferenceCreate, (Handle*))                                                                        \
  X(cublasLtMatmulPreferenceDestroy, (Handle))                                                                        \
  X(cublasLtMatmulPreferenceSetAttribute, (Handle, int, const void*, size_t))                                         \
  X(cublasLtMatmulAlgoGetHeuristic, (Handle, Handle, Handle, Handle, Handle, Handle, Handle, int, Heuristic*, int*))  \
  X(cublasLtMatmul, (Handle, Handle, const void*, const void*, Handle, const void*, Handle, const void*, const void*, \
                     Handle, void*, Handle, const Algorithm*, void*, size_t, Stream))

struct Functions {
#define PENSTOCK_DECLARE(name, arguments) int(*name) arguments = nullptr;
  PENSTOCK_BLAS_FUNCTIONS(PENSTOCK_DECLARE)
#undef PENSTOCK_DECLARE
  std::string problem;
};

std::string load(Functions& functions) {
  const char* chosen = std::getenv("PENSTOCK_CUBLASLT");
  const char* path = chosen && *chosen ? chosen : "libcublasLt.so.13";
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return cat("cuBLASLt (", path,
               ") not found: install the package nvidia-cublas, or name the file in "
               "PENSTOCK_CUBLASLT");
#define PENSTOCK_RESOLVE(name, arguments)                                     \
  functions.name = reinterpret_cast<int(*) arguments>(dlsym(library, #name)); \
  if (!functions.name) return cat("cuBLASLt (", path, ") lacks the function ", #name);
  PENSTOCK_BLAS_FUNCTIONS(PENSTOCK_RESOLVE)
#undef PENSTOCK_RESOLVE
  return "";
}

const Functions& functions() {
  static const Functions loaded = [] {
    Functions found;
    found.problem = load(found);
    return found;
  }();
  if (!loaded.problem.empty()) fail(PENSTOCK_ERR_UNSUPPORTED, "device cuda: ", loaded.problem);
  return loaded;
}

void check_blas(int status, const char* call) {
  if (status != 0) fail(PENSTOCK_ERR_DEVICE, "cuBLASLt: ", call, " failed with status ", status);
}

#define PENSTOCK_BLAS(call, ...) check_blas(functions().call(__VA_ARGS__), #call)

// A descriptor of one of cuBLASLt's kinds.
template <int (*Functions::*Destroy)(Handle)>
struct Descriptor {
  Handle handle = nullptr;
  Descriptor() = default;
  Descriptor(Descriptor&& other) noexcept : handle(std::exchange(other.handle, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle, other.handle);
    return *this;
  }
  ~Descriptor() {
    if (handle) (functions().*Destroy)(handle);
  }
};
using Layout = Descriptor<&Functions::cublasLtMatrixLayoutDestroy>;

Layout make_layout(int64_t rows, int64_t columns) {
  Layout layout;
  PENSTOCK_BLAS(cublasLtMatrixLayoutCreate, &layout.handle, kRealBf16, static_cast<uint64_t>(rows),
                static_cast<uint64_t>(columns), rows);
  return layout;
}

template <typename T>
void set(Handle descriptor, DescriptorAttribute attribute, T value) {
  PENSTOCK_BLAS(cublasLtMatmulDescSetAttribute, descriptor, attribute, &value, sizeof value);
}

}  // namespace

// What one shape needs. cuBLASLt counts in columns: y^T [N, M] = weight [K, N]^T x^T [K, M].
struct BlasLt::Plan {
  Descriptor<&Functions::cublasLtMatmulDescDestroy> operation;
  Layout weight, x, y;
  Algorithm algorithm{};
};

BlasLt::BlasLt() { PENSTOCK_BLAS(cublasLtCreate, &handle_); }

BlasLt::~BlasLt() {
  plans_.clear();
  functions().cublasLtDestroy(handle_);
}

const BlasLt::Plan& BlasLt::plan_for(const MatrixProduct& product) {
  const Key key{product.m, product.n, product.k, product.bias != nullptr, product.gelu};
  if (const auto known = plans_.find(key); known != plans_.end()) return *known->second;
  auto created = std::make_unique<Plan>();
  Plan& plan = *created;
  PENSTOCK_BLAS(cublasLtMatmulDescCreate, &plan.operation.handle, kComputeF32, kRealF32);
  set<int32_t>(plan.operation.handle, kTransposeA, kTranspose);
  const uint32_t epilogue = (product.bias ? kBias : 0u) | (product.gelu ? kGelu : 0u);
  set<uint32_t>(plan.operation.handle, kEpilogue, epilogue ? epilogue : kNoEpilogue);
  if (product.bias) {
    set<int32_t>(plan.operation.handle, kBiasType, kRealBf16);
    set<const void*>(plan.operation.handle, kBiasPointer, product.bias);  // its alignment counts for the choice
  }
  plan.weight = make_layout(product.k, product.n);
  plan.x = make_layout(product.k, product.m);
  plan.y = make_layout(product.n, product.m);

  Descriptor<&Functions::cublasLtMatmulPreferenceDestroy> preference;
  PENSTOCK_BLAS(cublasLtMatmulPreferenceCreate, &preference.handle);
  const size_t most = kWorkspaceBytes;
  PENSTOCK_BLAS(cublasLtMatmulPreferenceSetAttribute, preference.handle, kMostWorkspace, &most, sizeof most);
  Heuristic best{};
  int found = 0;
  PENSTOCK_BLAS(cublasLtMatmulAlgoGetHeuristic, handle_, plan.operation.handle, plan.weight.handle, plan.x.handle,
                plan.y.handle, plan.y.handle, preference.handle, 1, &best, &found);
  if (found == 0)
    fail(PENSTOCK_ERR_UNSUPPORTED, "cuBLASLt has no algorithm for [", product.m, ", ", product.k, "] x [", product.n,
         ", ", product.k, "]^T in bf16");
  plan.algorithm = best.algorithm;
  return *plans_.emplace(key, std::move(created)).first->second;
}

void BlasLt::run(const MatrixProduct& product, void* workspace, Stream stream) {
  const Plan& plan = plan_for(product);
  if (product.bias) set<const void*>(plan.operation.handle, kBiasPointer, product.bias);
  const float one = 1.0f, zero = 0.0f;
  PENSTOCK_BLAS(cublasLtMatmul, handle_, plan.operation.handle, &one, product.weight, plan.weight.handle, product.x,
                plan.x.handle, &zero, product.y, plan.y.handle, product.y, plan.y.handle, &plan.algorithm, workspace,
                kWorkspaceBytes, stream);
}

}  // namespace penstock::cuda
