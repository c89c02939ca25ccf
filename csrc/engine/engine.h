// Engine: a plan with its weights on one device. Immutable once the weights are set; shared by its sessions.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/backend.h"
#include "engine/plan.h"

namespace penstock {

inline size_t align_up(size_t bytes) { return (bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment; }

class Engine {
 public:
  Engine(Plan plan, std::shared_ptr<Backend> backend);

  // Opens an engine directory {plan.json, weights.safetensors}; all weights must be there, and no others.
  static std::shared_ptr<Engine> open(const std::string& directory, std::shared_ptr<Backend> backend);

  void set_weight(std::string_view name, DType dtype, const Shape& shape, const void* data);

  // Throws PENSTOCK_ERR_BAD_WEIGHTS listing what is missing, at most 20 lines.
  void require_weights() const;

  const Plan& plan() const { return plan_; }
  size_t phase_index(std::string_view phase) const;  // throws, naming the phases that there are
  const std::shared_ptr<Backend>& backend() const { return backend_; }

  DType resolve(DType dtype) const { return dtype == DType::kCompute ? backend_->compute_dtype() : dtype; }
  size_t tensor_bytes(const PlanTensor& tensor) const {
    return static_cast<size_t>(tensor.elements) * dtype_size(resolve(tensor.dtype));
  }
  void* weight_data(int tensor) const { return weights_.at(offsets_[tensor]); }

 private:
  Plan plan_;
  std::shared_ptr<Backend> backend_;
  std::vector<size_t> offsets_;  // by tensor; meaningful for weights
  std::vector<bool> is_set_;
  Memory weights_;
};

// "a heading:" and up to 20 of the items, one a line, then how many more there are.
std::string listing(const std::string& heading, const std::vector<std::string>& items);

}  // namespace penstock
