// cuBLASLt, in the same library: matrices and algorithms are checked, products are launches of the capturing stream.
//
// MOCK_ALGORITHMS="3 1 2": for every product there are so many algorithms, which take these times in ms; default "0".
// MOCK_REFUSED="1": cublasLtMatmulAlgoCheck refuses that one. MOCK_CUBLASLT: the version.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "mock.h"

using namespace mock;

namespace {

constexpr int kNotSupported = 15;
constexpr uint64_t kOurs = 0x6d68746972676f6c;  // what an algorithm of ours begins with

struct Algorithm {
  uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
};
struct Matrix {
  uint64_t rows, columns;
  int64_t leading;
  uint64_t bytes() const { return 2 * (static_cast<uint64_t>(leading) * (columns - 1) + rows); }
};

std::map<void*, Matrix>& matrices() {
  static std::map<void*, Matrix> known;
  return known;
}

std::vector<double> durations() {
  const char* setting = std::getenv("MOCK_ALGORITHMS");
  std::istringstream text(setting ? setting : "0");
  std::vector<double> times;
  for (double ms; text >> ms;) times.push_back(ms);
  return times;
}

// Which algorithm it is, or -1 for bytes that no heuristic gave.
int number_of(const Algorithm& algorithm) {
  const bool ours = algorithm.data[0] == kOurs && algorithm.data[1] < durations().size();
  return ours ? static_cast<int>(algorithm.data[1]) : -1;
}

}  // namespace

MOCK size_t cublasLtGetVersion() { return static_cast<size_t>(setting("MOCK_CUBLASLT", 130002)); }
MOCK int cublasLtCreate(void** handle) {
  LOCK;
  return create_handle("cublasLtCreate", handle);
}
MOCK int cublasLtDestroy(void* handle) {
  LOCK;
  return destroy_handle("cublasLtDestroy", handle);
}
MOCK int cublasLtMatmulDescCreate(void** handle, int, int) {
  LOCK;
  return create_handle("cublasLtMatmulDescCreate", handle);
}
MOCK int cublasLtMatmulDescDestroy(void* handle) {
  LOCK;
  return destroy_handle("cublasLtMatmulDescDestroy", handle);
}
MOCK int cublasLtMatmulDescSetAttribute(void*, int, const void*, size_t) { return kSuccess; }
MOCK int cublasLtMatrixLayoutCreate(void** handle, int, uint64_t rows, uint64_t columns, int64_t leading) {
  LOCK;
  if (rows < 1 || columns < 1 || leading < static_cast<int64_t>(rows)) return problem("a matrix of no size");
  create_handle("cublasLtMatrixLayoutCreate", handle);
  matrices()[*handle] = {rows, columns, leading};
  return kSuccess;
}
MOCK int cublasLtMatrixLayoutDestroy(void* handle) {
  LOCK;
  matrices().erase(handle);
  return destroy_handle("cublasLtMatrixLayoutDestroy", handle);
}
MOCK int cublasLtMatmulPreferenceCreate(void** handle) {
  LOCK;
  return create_handle("cublasLtMatmulPreferenceCreate", handle);
}
MOCK int cublasLtMatmulPreferenceDestroy(void* handle) {
  LOCK;
  return destroy_handle("cublasLtMatmulPreferenceDestroy", handle);
}
MOCK int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return kSuccess; }
MOCK int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int most, void* results,
                                        int* found) {
  LOCK;
  *found = std::min(most, static_cast<int>(durations().size()));
  for (int i = 0; i < *found; ++i) {
    const Heuristic result{{{kOurs, static_cast<uint64_t>(i)}}, 0, kSuccess, 1.0f, {}};
    std::memcpy(static_cast<Heuristic*>(results) + i, &result, sizeof result);
  }
  return count("cublasLtMatmulAlgoGetHeuristic");
}
MOCK int cublasLtMatmulAlgoCheck(void*, void*, void*, void*, void*, void*, const void* given, void* result) {
  LOCK;
  const Algorithm& algorithm = *static_cast<const Algorithm*>(given);
  if (number_of(algorithm) < 0) return problem("an algorithm that cuBLASLt did not give is checked");
  if (number_of(algorithm) == setting("MOCK_REFUSED", -1)) return kNotSupported;
  const Heuristic checked{};
  std::memcpy(result, &checked, sizeof checked);
  return count("cublasLtMatmulAlgoCheck");
}
MOCK int cublasLtMatmul(void*, void*, const void*, const void* a, void* a_layout, const void* b, void* b_layout,
                        const void*, const void* c, void* c_layout, void* d, void* d_layout, const void* algorithm,
                        const void* workspace, size_t workspace_bytes, void* stream) {
  LOCK;
  if (!state().capturing.count(stream)) return problem("a product outside of a capture");
  const int number = number_of(*static_cast<const Algorithm*>(algorithm));
  if (number < 0) return problem("a product by an algorithm that cuBLASLt did not give");
  const std::pair<const void*, size_t> operands[] = {{a, matrices().at(a_layout).bytes()},
                                                     {b, matrices().at(b_layout).bytes()},
                                                     {c, matrices().at(c_layout).bytes()},
                                                     {d, matrices().at(d_layout).bytes()},
                                                     {workspace, workspace_bytes}};
  for (const auto& [memory, bytes] : operands) {
    const auto address = reinterpret_cast<unsigned long long>(memory);
    if (!on_device(address, bytes)) return problem("a product beyond an allocation");
    uses(stream, address);
  }
  Recording& recording = state().recordings[stream];
  const Product product{reinterpret_cast<unsigned long long>(d), matrices().at(d_layout).bytes(),
                        durations()[static_cast<size_t>(number)]};
  recording.products.push_back(product);
  ++recording.launches;
  record("product", number, product.target, product.bytes);
  return count("cublasLtMatmul");
}
