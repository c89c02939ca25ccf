// Engine: a plan with its weights on one device. Immutable once the weights are set; shared by its sessions.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/backend.h"
#include "engine/lanes.h"
#include "engine/plan.h"
#include "engine/weight_arena.h"

namespace penstock {

class Engine {
 public:
  // `weights_from`, on the same backend: weights that are equal to its are shared with it, not stored again.
  Engine(Plan plan, std::shared_ptr<Backend> backend, const Engine* weights_from, Schedule schedule);

  // Opens an engine directory {plan.json, weights.safetensors}; all weights must be there, and no others.
  static std::shared_ptr<Engine> open(const std::string& directory, std::shared_ptr<Backend> backend,
                                      const Engine* weights_from, Schedule schedule);

  void set_weight(std::string_view name, DType dtype, const Shape& shape, const void* data);

  // Has the backend choose how it does the plan's ops (Backend::tune). All weights must be set.
  void tune(const std::string& directory, const Log& log) const;

  // Throws PENSTOCK_ERR_BAD_WEIGHTS listing what is missing, at most 20 lines.
  void require_weights() const;

  const Plan& plan() const { return plan_; }
  const LanePlan& lanes() const { return lanes_; }
  const std::shared_ptr<Backend>& backend() const { return backend_; }

  DType resolve(DType dtype) const { return dtype == DType::kCompute ? backend_->compute_dtype() : dtype; }
  size_t tensor_bytes(const PlanTensor& tensor) const {
    return static_cast<size_t>(tensor.elements) * dtype_size(resolve(tensor.dtype));
  }
  void* weight_data(int tensor) const { return weights_[tensor]->data; }
  BoundOp bind(const PlanOp& op, const std::function<void*(int)>& data_of) const;

 private:
  WeightTable weight_table() const;
  void* constant_data(int tensor) const;
  std::shared_ptr<const Weight> make_weight(const PlanTensor& tensor, const void* data);

  Plan plan_;
  LanePlan lanes_;
  std::shared_ptr<Backend> backend_;
  WeightTable shareable_;  // of the engine that this one takes weights from
  WeightArena arena_;
  std::vector<std::shared_ptr<const Weight>> weights_;  // by tensor; null for what is no weight, or not set yet
};

// "a heading:" and up to 20 of the items, one a line, then how many more there are.
std::string listing(const std::string& heading, const std::vector<std::string>& items);

}  // namespace penstock
