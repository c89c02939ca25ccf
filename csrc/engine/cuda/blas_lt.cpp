#include "engine/cuda/blas_lt.h"

#include <algorithm>
#include <utility>

#include "engine/backend.h"
#include "engine/error.h"

namespace penstock::cuda {
namespace {

// A descriptor of one of cuBLASLt's kinds.
template <int (*BlasLtLibrary::*Destroy)(BlasHandle)>
struct Descriptor {
  BlasHandle handle = nullptr;
  Descriptor() = default;
  Descriptor(Descriptor&& other) noexcept : handle(std::exchange(other.handle, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle, other.handle);
    return *this;
  }
  ~Descriptor() {
    if (handle) (require_blas_lt().*Destroy)(handle);
  }
};
using Layout = Descriptor<&BlasLtLibrary::cublasLtMatrixLayoutDestroy>;
using Preference = Descriptor<&BlasLtLibrary::cublasLtMatmulPreferenceDestroy>;

Layout make_layout(int64_t rows, int64_t columns) {
  Layout layout;
  PENSTOCK_BLAS(cublasLtMatrixLayoutCreate, &layout.handle, kRealBf16, static_cast<uint64_t>(rows),
                static_cast<uint64_t>(columns), rows);
  return layout;
}

template <typename T>
void set(BlasHandle operation, MatmulAttribute attribute, T value) {
  PENSTOCK_BLAS(cublasLtMatmulDescSetAttribute, operation, attribute, &value, sizeof value);
}

template <typename T>
void set(BlasHandle preference, MatmulPreference attribute, T value) {
  PENSTOCK_BLAS(cublasLtMatmulPreferenceSetAttribute, preference, attribute, &value, sizeof value);
}

// What an algorithm may count on.
Preference make_preference(const ProductShape& shape) {
  Preference preference;
  PENSTOCK_BLAS(cublasLtMatmulPreferenceCreate, &preference.handle);
  set<uint64_t>(preference.handle, MatmulPreference::kMostWorkspace, BlasLt::kWorkspaceBytes);
  for (const auto operand : {MatmulPreference::kAlignmentA, MatmulPreference::kAlignmentB,
                             MatmulPreference::kAlignmentC, MatmulPreference::kAlignmentD})
    set<uint32_t>(preference.handle, operand, static_cast<uint32_t>(shape.alignment));
  return preference;
}

int64_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<uintptr_t>(address) | kTensorAlignment;
  return static_cast<int64_t>(bits & (~bits + 1));  // the lowest bit that is set
}

}  // namespace

ProductShape MatrixProduct::shape() const {
  const int64_t alignment =
      std::min({alignment_of(x), alignment_of(weight), alignment_of(bias), alignment_of(static_cast<const void*>(y))});
  return {m, n, k, bias != nullptr, gelu, alignment};
}

MatrixProduct product_of(const OpArgs& gemm) {
  MatrixProduct product;
  product.m = gemm.dim("M");
  product.n = gemm.dim("N");
  product.k = gemm.dim("K");
  product.x = gemm.tensor("x").data;
  product.weight = gemm.tensor("weight").data;
  product.bias = gemm.tensor("bias").data;
  product.y = gemm.tensor("y").data;
  product.gelu = gemm.choice("activation") == "gelu_tanh";
  return product;
}

// What one shape needs. cuBLASLt counts in columns: y^T [N, M] = weight [K, N]^T x^T [K, M].
struct BlasLt::Descriptors {
  Descriptor<&BlasLtLibrary::cublasLtMatmulDescDestroy> operation;
  Layout weight, x, y;
};

BlasLt::BlasLt() { PENSTOCK_BLAS(cublasLtCreate, &handle_); }

BlasLt::~BlasLt() {
  descriptors_.clear();
  require_blas_lt().cublasLtDestroy(handle_);
}

// Of the product's shape, with its bias.
const BlasLt::Descriptors& BlasLt::describe(const MatrixProduct& product) {
  std::unique_ptr<Descriptors>& known = descriptors_[product.shape()];
  if (!known) {
    auto created = std::make_unique<Descriptors>();
    PENSTOCK_BLAS(cublasLtMatmulDescCreate, &created->operation.handle, kComputeF32, kRealF32);
    const BlasHandle operation = created->operation.handle;
    set<int32_t>(operation, MatmulAttribute::kTransposeA, kTranspose);
    const uint32_t epilogue = (product.bias ? kBias : 0u) | (product.gelu ? kGelu : 0u);
    set<uint32_t>(operation, MatmulAttribute::kEpilogue, epilogue ? epilogue : kNoEpilogue);
    if (product.bias) set<int32_t>(operation, MatmulAttribute::kBiasType, kRealBf16);
    created->weight = make_layout(product.k, product.n);
    created->x = make_layout(product.k, product.m);
    created->y = make_layout(product.n, product.m);
    known = std::move(created);
  }
  if (product.bias) set<const void*>(known->operation.handle, MatmulAttribute::kBiasPointer, product.bias);
  return *known;
}

std::vector<MatmulAlgorithm> BlasLt::candidates(const MatrixProduct& product, int most) {
  const Descriptors& with = describe(product);
  const Preference preference = make_preference(product.shape());
  std::vector<MatmulHeuristic> guesses(static_cast<size_t>(most));
  int count = 0;
  PENSTOCK_BLAS(cublasLtMatmulAlgoGetHeuristic, handle_, with.operation.handle, with.weight.handle, with.x.handle,
                with.y.handle, with.y.handle, preference.handle, most, guesses.data(), &count);
  std::vector<MatmulAlgorithm> usable;
  for (int i = 0; i < std::min(count, most); ++i)
    if (guesses[static_cast<size_t>(i)].status == 0) usable.push_back(guesses[static_cast<size_t>(i)].algorithm);
  if (usable.empty())
    fail(PENSTOCK_ERR_UNSUPPORTED, "cuBLASLt has no algorithm for [", product.m, ", ", product.k, "] x [", product.n,
         ", ", product.k, "]^T in bf16");
  return usable;
}

bool BlasLt::is_able(const MatrixProduct& product, const MatmulAlgorithm& algorithm) {
  const Descriptors& with = describe(product);
  MatmulHeuristic checked{};
  const int status =
      require_blas_lt().cublasLtMatmulAlgoCheck(handle_, with.operation.handle, with.weight.handle, with.x.handle,
                                                with.y.handle, with.y.handle, &algorithm, &checked);
  return status == 0 && checked.workspace <= kWorkspaceBytes;
}

void BlasLt::run(const MatrixProduct& product, void* workspace, Stream stream) {
  const ProductShape shape = product.shape();
  if (!has_choice(shape)) choose(shape, candidates(product, 1).front());
  run(product, chosen_.at(shape), workspace, stream);
}

void BlasLt::run(const MatrixProduct& product, const MatmulAlgorithm& algorithm, void* workspace, Stream stream) {
  const Descriptors& with = describe(product);
  const float one = 1.0f, zero = 0.0f;
  PENSTOCK_BLAS(cublasLtMatmul, handle_, with.operation.handle, &one, product.weight, with.weight.handle, product.x,
                with.x.handle, &zero, product.y, with.y.handle, product.y, with.y.handle, &algorithm, workspace,
                kWorkspaceBytes, stream);
}

}  // namespace penstock::cuda
