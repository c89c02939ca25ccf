// Times one matrix product by one algorithm after the other, as a captured graph runs it.
#pragma once

#include <optional>
#include <vector>

#include "engine/cuda/device_state.h"

namespace penstock::cuda {

// A product that the ops of a plan have in common, with the weights and biases of all of them.
struct ProductUse {
  MatrixProduct product;  // of the first; x and y are not used
  std::vector<const void*> weights, biases;
};

class ProductTimer {
 public:
  // Allocates x and y. Throws PENSTOCK_ERR_OUT_OF_MEMORY.
  ProductTimer(DeviceState& device, const ProductUse& use);
  ~ProductTimer();
  ProductTimer(const ProductTimer&) = delete;
  ProductTimer& operator=(const ProductTimer&) = delete;

  // Microseconds of one product: the least of several rounds, fewer if it takes far more than `best`. Nothing if the
  // algorithm does not run.
  std::optional<double> time(const MatmulAlgorithm& algorithm, std::optional<double> best);

 private:
  OwnedGraphExec capture(const MatmulAlgorithm& algorithm);
  double run(GraphExec graph);

  DeviceState& device_;
  const ProductUse& use_;
  Address x_ = 0, y_ = 0;
  OwnedEvent begin_, end_;
};

}  // namespace penstock::cuda
