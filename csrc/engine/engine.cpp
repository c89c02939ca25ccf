#include "engine/engine.h"

#include "engine/error.h"
#include "engine/json.h"
#include "engine/mapped_file.h"
#include "engine/safetensors.h"

namespace penstock {
namespace {

// Bytes of all weights, each aligned.
size_t weights_size(const Plan& plan, DType compute) {
  size_t size = 0;
  for (const PlanTensor& tensor : plan.tensors) {
    if (tensor.kind != TensorKind::kWeight) continue;
    const DType dtype = tensor.dtype == DType::kCompute ? compute : tensor.dtype;
    size += align_up(static_cast<size_t>(tensor.elements) * dtype_size(dtype));
  }
  return size;
}

}  // namespace

Engine::Engine(Plan plan, std::shared_ptr<Backend> backend, const Engine* weights_from, Schedule schedule)
    : plan_(std::move(plan)),
      lanes_(plan_, schedule),
      backend_(std::move(backend)),
      shareable_(weights_from ? weights_from->weight_table() : WeightTable{}),
      arena_(backend_, weights_from ? 0 : weights_size(plan_, backend_->compute_dtype())),
      weights_(plan_.tensors.size()) {}

WeightTable Engine::weight_table() const {
  WeightTable table;
  for (size_t i = 0; i < weights_.size(); ++i)
    if (weights_[i]) table.emplace(plan_.tensors[i].name, weights_[i]);
  return table;
}

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
  if (dtype == target) {
    weights_[index] = make_weight(tensor, data);
  } else {
    std::vector<char> converted(tensor_bytes(tensor));
    convert_elements(dtype, data, target, converted.data(), tensor.elements);
    weights_[index] = make_weight(tensor, converted.data());
  }
}

// The other engine's weight if it is the same to the bit, or a new one.
std::shared_ptr<const Weight> Engine::make_weight(const PlanTensor& tensor, const void* data) {
  const Fingerprint content = fingerprint(data, tensor_bytes(tensor));
  const DType dtype = resolve(tensor.dtype);
  if (const auto found = shareable_.find(tensor.name); found != shareable_.end()) {
    const Weight& other = *found->second;
    if (other.dtype == dtype && other.shape == tensor.shape && other.content == content) return found->second;
  }
  return arena_.store(dtype, tensor.shape, content, data, tensor_bytes(tensor));
}

void Engine::require_weights() const {
  std::vector<std::string> missing;
  for (size_t i = 0; i < plan_.tensors.size(); ++i) {
    const PlanTensor& tensor = plan_.tensors[i];
    if (tensor.kind == TensorKind::kWeight && !weights_[i])
      missing.push_back(quoted(tensor.name) + " " + shape_text(tensor.shape));
  }
  if (!missing.empty()) throw Error(PENSTOCK_ERR_BAD_WEIGHTS, listing("missing weights", missing));
}

BoundOp Engine::bind(const PlanOp& op, const std::function<void*(int)>& data_of) const {
  OpArgs args{op.definition->contract, {}, op.attributes, op.symbols};
  for (int tensor : op.tensors) {
    TensorView view;
    if (tensor >= 0) {
      const PlanTensor& entry = plan_.tensors[tensor];
      view = TensorView{data_of(tensor), resolve(entry.dtype), entry.shape};
    }
    args.tensors.push_back(std::move(view));
  }
  return BoundOp{op.definition, std::move(args)};
}

// A weight or a part of one; null for what sessions have.
void* Engine::constant_data(int tensor) const {
  const PlanTensor& entry = plan_.tensors[tensor];
  if (entry.kind == TensorKind::kWeight) return weight_data(tensor);
  if (entry.kind != TensorKind::kView) return nullptr;
  char* base = static_cast<char*>(constant_data(entry.base));
  return base ? base + static_cast<size_t>(entry.offset) * dtype_size(resolve(entry.dtype)) : nullptr;
}

void Engine::tune(const std::string& directory, const Log& log) const {
  std::vector<BoundOp> ops;
  for (const auto& phase : plan_.phases)
    for (const PlanOp& op : phase.ops) ops.push_back(bind(op, [this](int tensor) { return constant_data(tensor); }));
  backend_->tune(ops, directory, log);
}

std::shared_ptr<Engine> Engine::open(const std::string& directory, std::shared_ptr<Backend> backend,
                                     const Engine* weights_from, Schedule schedule) {
  const std::string plan_path = directory + "/plan.json";
  const MappedFile plan_file(plan_path);
  const std::string_view text(static_cast<const char*>(plan_file.data()), plan_file.size());
  auto engine = std::make_shared<Engine>(read_plan(text, plan_path), std::move(backend), weights_from, schedule);
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
