#include "engine/cuda/product_tuning.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <map>

#include "engine/cuda/implementation.h"
#include "engine/cuda/product_file.h"
#include "engine/cuda/product_timer.h"

namespace penstock::cuda {
namespace {

constexpr int kCandidates = 8;

using Clock = std::chrono::steady_clock;
using Uses = std::map<ProductShape, ProductUse>;

bool wants_measuring(const std::string& directory) {
  const std::string wanted = wanted_implementation("gemm");
  if (!wanted.empty() && wanted != "measured" && wanted != "heuristic")
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "PENSTOCK_IMPL: gemm=", wanted,
         ": gemm has the implementations measured and heuristic");
  return wanted == "measured" || (wanted.empty() && !directory.empty());
}

// The products that have no algorithm yet.
Uses new_products(DeviceState& device, const std::vector<BoundOp>& ops) {
  const OpDefinition* gemm = find_op("gemm");
  const Call call(device);
  Uses uses;
  for (const BoundOp& op : ops) {
    if (op.definition != gemm) continue;
    const MatrixProduct product = product_of(op.args);
    if (!product.weight || device.blas->has_choice(product.shape())) continue;
    ProductUse& use = uses[product.shape()];
    if (use.weights.empty()) use.product = product;
    use.weights.push_back(product.weight);
    use.biases.push_back(product.bias);
  }
  return uses;
}

ProductDevice describe(DeviceState& device) {
  const PrimaryContext& context = device.context;
  ProductDevice described{context.name(), context.architecture(), context.multiprocessors(),
                          static_cast<int64_t>(require_blas_lt().cublasLtGetVersion())};
  for (char& letter : described.name)
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '-';
  return described;
}

bool equals(const MatmulAlgorithm& a, const MatmulAlgorithm& b) {
  return std::equal(std::begin(a.data), std::end(a.data), std::begin(b.data));
}

// Takes the stored choice if it is among what cuBLASLt offers, and can be used; or else its first guess.
bool restore(DeviceState& device, const ProductUse& use, const MatmulAlgorithm& stored) {
  const Call call(device);
  BlasLt& blas = *device.blas;
  const std::vector<MatmulAlgorithm> offered = blas.candidates(use.product, kCandidates);
  const auto found = std::find_if(offered.begin(), offered.end(),
                                  [&](const MatmulAlgorithm& algorithm) { return equals(algorithm, stored); });
  const bool usable = found != offered.end() && blas.is_able(use.product, *found);
  blas.choose(use.product.shape(), usable ? *found : offered.front());
  return usable;
}

ProductChoice measure(DeviceState& device, const ProductUse& use, Clock::time_point deadline) {
  const std::vector<MatmulAlgorithm> offered = [&] {
    const Call call(device);
    return device.blas->candidates(use.product, kCandidates);
  }();
  ProductChoice fastest{offered.front(), std::nullopt};
  if (Clock::now() >= deadline) return fastest;
  try {
    ProductTimer timer(device, use);
    for (const MatmulAlgorithm& algorithm : offered) {
      if (Clock::now() >= deadline) break;
      const std::optional<double> us = timer.time(algorithm, fastest.us);
      if (us && (!fastest.us || *us < *fastest.us)) fastest = {algorithm, us};
    }
  } catch (const Error& error) {
    if (error.status() != PENSTOCK_ERR_OUT_OF_MEMORY) throw;
  }
  return fastest;
}

// Those that take the most time first.
std::vector<const ProductUse*> by_work(const Uses& uses) {
  std::vector<const ProductUse*> sorted;
  for (const auto& entry : uses) sorted.push_back(&entry.second);
  const auto work = [](const ProductUse* use) {
    const MatrixProduct& product = use->product;
    return static_cast<double>(product.m) * static_cast<double>(product.n) * static_cast<double>(product.k) *
           static_cast<double>(use->weights.size());
  };
  std::stable_sort(sorted.begin(), sorted.end(), [&](const auto* a, const auto* b) { return work(a) > work(b); });
  return sorted;
}

// Measures, and adds to the choices. Returns how many there was time for.
int measure_all(DeviceState& device, const Uses& uses, ProductChoices& choices) {
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(kTuningSeconds));
  int measured = 0;
  for (const ProductUse* use : by_work(uses)) {
    const ProductChoice choice = measure(device, *use, deadline);
    choices[use->product.shape()] = choice;
    measured += choice.us.has_value();
    const Call call(device);
    device.blas->choose(use->product.shape(), choice.algorithm);
  }
  return measured;
}

// Of the log, since a stream works as well without the file.
template <typename Work>
void or_log(const Log& log, Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.status() != PENSTOCK_ERR_BAD_FILE) throw;
    log(PENSTOCK_LOG_WARNING, error.what());
  }
}

}  // namespace

void tune_products(DeviceState& device, const std::vector<BoundOp>& ops, const std::string& directory, const Log& log) {
  if (!wants_measuring(directory)) return;
  Uses uses = new_products(device, ops);
  if (uses.empty()) return;
  const ProductDevice described = describe(device);
  const std::string path = directory.empty() ? "" : product_file_path(directory, described);
  ProductChoices choices;
  if (!path.empty()) or_log(log, [&] { choices = read_product_file(path, described); });
  int refused = 0;
  for (auto use = uses.begin(); use != uses.end();) {
    const auto stored = choices.find(use->first);
    if (stored == choices.end()) {
      ++use;
      continue;
    }
    refused += !restore(device, use->second, stored->second.algorithm);
    use = uses.erase(use);
  }
  if (refused > 0)
    log(PENSTOCK_LOG_WARNING, path, ": cuBLASLt refuses ", refused,
        " of its algorithms; its own first guesses take their place (delete the file to measure again)");
  if (uses.empty()) return;
  const auto begin = Clock::now();
  const int measured = measure_all(device, uses, choices);
  log(PENSTOCK_LOG_INFO, "algorithms of ", measured, " of ", uses.size(), " matrix products measured in ",
      std::chrono::duration<double>(Clock::now() - begin).count(), " s");
  if (!path.empty()) or_log(log, [&] { write_product_file(path, described, choices); });
}

}  // namespace penstock::cuda
