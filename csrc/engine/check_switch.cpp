// Whether a stream can go on with another configuration: same model, same pictures, same rolling cache.
#include <algorithm>

#include "engine/configuration.h"
#include "engine/error.h"
#include "engine/json.h"

namespace penstock {
namespace {

// Entries of a plan's config in which configurations of one stream may differ.
constexpr std::string_view kFree[] = {"steps",       "mode",          "history",       "schedule",
                                      "noise_scale", "clean_context", "sink_threshold"};
// The published code's queue counts the passes of a chunk, so these cannot change under it.
constexpr std::string_view kPasses[] = {"steps", "mode", "history", "clean_context"};

bool contains(const std::string_view* begin, const std::string_view* end, std::string_view name) {
  return std::find(begin, end, name) != end;
}

const std::string& config_value(const Plan& plan, const std::string& name) {
  static const std::string kAbsent = "absent";
  const auto found = plan.config.find(name);
  return found == plan.config.end() ? kAbsent : found->second;
}

void check_config(const Plan& from, const Plan& to) {
  const bool published = config_value(to, "cache_policy") == "'streamdiffusionv2'";
  for (const Plan* plan : {&from, &to})
    for (const auto& [name, ignored] : plan->config) {
      const bool passes = published && contains(std::begin(kPasses), std::end(kPasses), name);
      if (!passes && contains(std::begin(kFree), std::end(kFree), name)) continue;
      const std::string &here = config_value(from, name), &there = config_value(to, name);
      if (here == there) continue;
      fail(PENSTOCK_ERR_UNSUPPORTED, "cannot switch: ", name, " is ", here, " now and ", there, " there",
           passes ? "; with cache_policy streamdiffusionv2 it must stay" : "; it must be the same");
    }
}

std::string described(const PlanTensor& tensor) {
  return cat(quoted(tensor.name), " ", shape_text(tensor.shape), " ", dtype_name(tensor.dtype));
}

// Every tensor that goes over needs a counterpart of the same kind, type and shape, but for the slots.
void check_tensors(const Plan& from, const Plan& to) {
  for (const PlanTensor& tensor : to.tensors) {
    const bool state = tensor.kind == TensorKind::kState || tensor.kind == TensorKind::kStep;
    if (!state || tensor.carry == Carry::kOwn) continue;
    const int index = from.find(tensor.name);
    if (index < 0)
      fail(PENSTOCK_ERR_UNSUPPORTED, "cannot switch: the configuration now has no ", described(tensor),
           "; the two must keep their caches in one way");
    const PlanTensor& other = from.tensors[index];
    Shape shape = other.shape;
    if (tensor.carry == Carry::kSlots && other.carry == Carry::kSlots && other.slot_axis == tensor.slot_axis &&
        shape.size() == tensor.shape.size())
      shape[static_cast<size_t>(tensor.slot_axis)] = tensor.shape[static_cast<size_t>(tensor.slot_axis)];
    if (other.kind != tensor.kind || other.carry != tensor.carry || other.dtype != tensor.dtype ||
        shape != tensor.shape)
      fail(PENSTOCK_ERR_UNSUPPORTED, "cannot switch: state ", described(other), " does not fit ", described(tensor));
  }
}

void check_weights(const Engine& from, const Engine& to) {
  for (size_t i = 0; i < to.plan().tensors.size(); ++i) {
    const PlanTensor& tensor = to.plan().tensors[i];
    if (tensor.kind != TensorKind::kWeight) continue;
    const int other = from.plan().find(tensor.name);
    if (other < 0 || from.plan().tensors[other].kind != TensorKind::kWeight) continue;
    if (from.weight_data(other) != to.weight_data(static_cast<int>(i)))
      fail(PENSTOCK_ERR_UNSUPPORTED, "cannot switch: weight ", quoted(tensor.name),
           " is another one; create the engine with weights_from, of the same model");
  }
}

}  // namespace

void check_switch(const Engine& from, const Engine& to) {
  to.require_weights();
  check_config(from.plan(), to.plan());
  check_tensors(from.plan(), to.plan());
  check_tensors(to.plan(), from.plan());
  if (from.lanes().lanes != to.lanes().lanes)
    fail(PENSTOCK_ERR_UNSUPPORTED, "cannot switch: the engines have different schedules");
  if (from.backend() != to.backend())
    fail(PENSTOCK_ERR_UNSUPPORTED, "cannot switch: the engine is on another device; create it with weights_from");
  check_weights(from, to);
}

}  // namespace penstock
