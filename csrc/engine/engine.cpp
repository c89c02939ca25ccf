#include "engine/engine.h"

#include "engine/error.h"
#include "engine/json.h"
#include "engine/mapped_file.h"
#include "engine/safetensors.h"

namespace penstock {
namespace {

// Offsets of the weights in one arena, by tensor index; the last entry is the arena's size.
std::vector<size_t> place_weights(const Plan& plan, DType compute) {
  std::vector<size_t> offsets;
  size_t end = 0;
  for (const PlanTensor& tensor : plan.tensors) {
    offsets.push_back(end);
    if (tensor.kind != TensorKind::kWeight) continue;
    const DType dtype = tensor.dtype == DType::kCompute ? compute : tensor.dtype;
    end += align_up(static_cast<size_t>(tensor.elements) * dtype_size(dtype));
  }
  offsets.push_back(end);
  return offsets;
}

}  // namespace

Engine::Engine(Plan plan, std::shared_ptr<Backend> backend)
    : plan_(std::move(plan)),
      backend_(std::move(backend)),
      offsets_(place_weights(plan_, backend_->compute_dtype())),
      is_set_(plan_.tensors.size(), false),
      weights_(backend_, offsets_.back()) {}

void Engine::set_weight(std::string_view name, DType dtype, const Shape& shape, const void* data) {
  const int index = plan_.find(name);
  if (index < 0 || plan_.tensors[index].kind != TensorKind::kWeight)
    fail(PENSTOCK_ERR_BAD_WEIGHTS, "the plan has no weight ", quoted(name));
  const PlanTensor& tensor = plan_.tensors[index];
  const bool floating = is_floating(dtype);
  const DType target = resolve(tensor.dtype);
  if (shape != tensor.shape || (dtype != target && !floating))
    fail(PENSTOCK_ERR_BAD_WEIGHTS, "weight ", quoted(name), ": expected ", shape_text(tensor.shape), " ",
         floating ? "f32, bf16 or f16" : dtype_name(target), ", got ", shape_text(shape), " ", dtype_name(dtype));
  void* device = weight_data(index);
  if (dtype == target) {
    backend_->upload(device, data, tensor_bytes(tensor));
  } else {
    std::vector<char> converted(tensor_bytes(tensor));
    convert_elements(dtype, data, target, converted.data(), tensor.elements);
    backend_->upload(device, converted.data(), converted.size());
  }
  is_set_[index] = true;
}

void Engine::require_weights() const {
  std::vector<std::string> missing;
  for (size_t i = 0; i < plan_.tensors.size(); ++i) {
    const PlanTensor& tensor = plan_.tensors[i];
    if (tensor.kind == TensorKind::kWeight && !is_set_[i])
      missing.push_back(quoted(tensor.name) + " " + shape_text(tensor.shape));
  }
  if (!missing.empty()) throw Error(PENSTOCK_ERR_BAD_WEIGHTS, listing("missing weights", missing));
}

size_t Engine::phase_index(std::string_view phase) const {
  const int index = plan_.find_phase(phase);
  if (index >= 0) return static_cast<size_t>(index);
  std::string known;
  for (const PlanPhase& entry : plan_.phases) known += (known.empty() ? "" : ", ") + entry.name;
  fail(PENSTOCK_ERR_INVALID_ARGUMENT, "no phase ", quoted(phase), "; the plan has: ", known);
}

std::shared_ptr<Engine> Engine::open(const std::string& directory, std::shared_ptr<Backend> backend) {
  const std::string plan_path = directory + "/plan.json";
  const MappedFile plan_file(plan_path);
  const std::string_view text(static_cast<const char*>(plan_file.data()), plan_file.size());
  auto engine = std::make_shared<Engine>(read_plan(text, plan_path), std::move(backend));
  const Safetensors weights(directory + "/weights.safetensors");
  std::vector<std::string> unexpected;
  for (const SafetensorsEntry& entry : weights.entries()) {
    const int index = engine->plan_.find(entry.name);
    if (index < 0 || engine->plan_.tensors[index].kind != TensorKind::kWeight)
      unexpected.push_back(quoted(entry.name) + " " + shape_text(entry.shape));
  }
  if (!unexpected.empty())
    throw Error(PENSTOCK_ERR_BAD_WEIGHTS, listing(directory + "/weights.safetensors: unexpected weights", unexpected));
  for (const SafetensorsEntry& entry : weights.entries())
    engine->set_weight(entry.name, entry.dtype, entry.shape, entry.data);
  engine->require_weights();
  return engine;
}

std::string listing(const std::string& heading, const std::vector<std::string>& items) {
  constexpr size_t kMost = 20;
  std::string text = heading + " (" + std::to_string(items.size()) + "):";
  for (size_t i = 0; i < items.size() && i < kMost; ++i) text += "\n  " + items[i];
  if (items.size() > kMost) text += "\n  ... and " + std::to_string(items.size() - kMost) + " more";
  return text;
}

}  // namespace penstock
