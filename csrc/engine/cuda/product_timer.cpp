#include "engine/cuda/product_timer.h"

#include <algorithm>

#include "engine/cuda/graph.h"
#include "engine/error.h"

namespace penstock::cuda {
namespace {

// Products of a graph. Each takes the weights of another layer where there are so many, which are then read from memory
// and not from the cache, as in the stream; x is in the cache there, too.
constexpr size_t kProducts = 8;
constexpr int kRounds = 5;
constexpr double kHopeless = 1.3;  // times the best of the others

// Values of some size: with zeros a device clocks higher. Weights are at hand.
void fill(Address target, size_t bytes, const MatrixProduct& product, Stream stream) {
  const size_t source = static_cast<size_t>(product.n * product.k) * sizeof(uint16_t);
  for (size_t at = 0; at < bytes; at += source)
    PENSTOCK_CUDA(cuMemcpyDtoDAsync_v2, target + at, address_of(product.weight), std::min(source, bytes - at), stream);
}

}  // namespace

ProductTimer::ProductTimer(DeviceState& device, const ProductUse& use) : device_(device), use_(use) {
  const Call call(device_);
  const MatrixProduct& product = use_.product;
  const auto x_bytes = static_cast<size_t>(product.m * product.k) * sizeof(uint16_t);
  const auto y_bytes = static_cast<size_t>(product.m * product.n) * sizeof(uint16_t);
  begin_ = make_event();
  end_ = make_event();
  const size_t padded = align_up(x_bytes);
  x_ = allocate_memory(padded + y_bytes, "measuring matrix products");
  y_ = x_ + padded;
  try {
    fill(x_, x_bytes, product, device_.stream(0));
  } catch (...) {
    find_driver().cuMemFree_v2(x_);
    throw;
  }
}

ProductTimer::~ProductTimer() {
  const Cleanup call(device_);
  find_driver().cuMemFree_v2(x_);
  begin_.reset();
  end_.reset();
}

std::optional<double> ProductTimer::time(const MatmulAlgorithm& algorithm, std::optional<double> best) {
  const Call call(device_);
  try {
    const OwnedGraphExec graph = capture(algorithm);
    run(graph.get());  // warms up
    double least = run(graph.get());
    for (int round = 1; round < kRounds && (!best || least < kHopeless * *best); ++round)
      least = std::min(least, run(graph.get()));
    return least;
  } catch (const Error&) {
    refuse_failed_device();
    return std::nullopt;
  }
}

OwnedGraphExec ProductTimer::capture(const MatmulAlgorithm& algorithm) {
  StreamLane& lane = device_.lane(0);
  MatrixProduct product = use_.product;
  product.x = reinterpret_cast<const void*>(x_);
  product.y = reinterpret_cast<void*>(y_);
  return instantiate(capture_graph(lane.stream.get(), [&] {
    for (size_t i = 0; i < kProducts; ++i) {
      product.weight = use_.weights[i % use_.weights.size()];
      product.bias = use_.biases[i % use_.biases.size()];
      device_.blas->run(product, algorithm, reinterpret_cast<void*>(lane.workspace), lane.stream.get());
    }
  }));
}

double ProductTimer::run(GraphExec graph) {
  const Stream stream = device_.stream(0);
  float ms = 0.0f;
  PENSTOCK_CUDA(cuEventRecord, begin_.get(), stream);
  PENSTOCK_CUDA(cuGraphLaunch, graph, stream);
  PENSTOCK_CUDA(cuEventRecord, end_.get(), stream);
  PENSTOCK_CUDA(cuEventSynchronize, end_.get());
  PENSTOCK_CUDA(cuEventElapsedTime, &ms, begin_.get(), end_.get());
  return 1e3 * static_cast<double>(ms) / kProducts;
}

}  // namespace penstock::cuda
