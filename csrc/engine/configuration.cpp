#include "engine/configuration.h"

#include <cstring>

#include "engine/error.h"
#include "engine/json.h"

namespace penstock {
namespace {

template <typename T>
void store(std::vector<char>& bytes, const std::vector<double>& values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const T value = static_cast<T>(values[values.size() == 1 ? 0 : static_cast<size_t>(i)]);
    std::memcpy(bytes.data() + static_cast<size_t>(i) * sizeof(T), &value, sizeof(T));
  }
}

std::vector<char> initial_bytes(const PlanTensor& step) {
  std::vector<char> bytes(static_cast<size_t>(step.elements) * dtype_size(step.dtype));
  switch (step.dtype) {
    case DType::kI32: store<int32_t>(bytes, step.init, step.elements); break;
    case DType::kI64: store<int64_t>(bytes, step.init, step.elements); break;
    case DType::kU64: store<uint64_t>(bytes, step.init, step.elements); break;
    default: store<float>(bytes, step.init, step.elements); break;
  }
  return bytes;
}

bool belongs_to_stream(const PlanTensor& tensor) {
  return (tensor.kind == TensorKind::kState || tensor.kind == TensorKind::kStep) && tensor.carry == Carry::kSame;
}

}  // namespace

size_t Configuration::place(Layout& layout, const Engine& engine, int tensor) {
  const PlanTensor& entry = engine.plan().tensors[tensor];
  size_t& end = belongs_to_stream(entry) ? layout.stream_bytes : layout.own_bytes;
  const size_t offset = end;
  end += align_up(engine.tensor_bytes(entry));
  return offset;
}

Configuration::Layout Configuration::make_layout(const Engine& engine) {
  const std::vector<PlanTensor>& tensors = engine.plan().tensors;
  const LanePlan& lanes = engine.lanes();
  Layout layout{std::vector<size_t>(tensors.size(), 0)};
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorKind kind = tensors[i].kind;
    if (kind == TensorKind::kWeight || kind == TensorKind::kScratch || kind == TensorKind::kView) continue;
    layout.offsets[i] = place(layout, engine, static_cast<int>(i));
  }
  for (const HandOver& passed : lanes.hand_overs)
    layout.copies[{passed.tensor, passed.to}] = place(layout, engine, passed.tensor);
  const size_t unit = dtype_size(engine.backend()->compute_dtype());
  std::vector<size_t> arenas;
  for (int64_t size : lanes.scratch_size) {
    arenas.push_back(layout.own_bytes);
    layout.own_bytes += align_up(static_cast<size_t>(size) * unit);
    layout.scratch_bytes += align_up(static_cast<size_t>(size) * unit);
  }
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].kind == TensorKind::kScratch)
      layout.offsets[i] = arenas[static_cast<size_t>(lanes.home[i])] + static_cast<size_t>(tensors[i].offset) * unit;
  return layout;
}

std::string Configuration::purpose(const Layout& layout) {
  return cat("a session of ", layout.stream_bytes + layout.own_bytes, " bytes (", layout.stream_bytes,
             " of the stream's state, ", layout.own_bytes - layout.scratch_bytes, " of caches, inputs and outputs, ",
             layout.scratch_bytes, " of scratch)");
}

size_t Configuration::memory_required(const Engine& engine) {
  const Layout layout = make_layout(engine);
  return layout.stream_bytes + layout.own_bytes;
}

std::shared_ptr<StreamMemory> Configuration::make_stream_memory() const {
  auto memory = std::make_shared<StreamMemory>(engine_->backend(), layout_.stream_bytes, purpose(layout_));
  const auto& tensors = plan().tensors;
  for (size_t i = 0; i < tensors.size(); ++i)
    if (belongs_to_stream(tensors[i]))
      memory->offsets[{tensors[i].name, engine_->lanes().home[i]}] = layout_.offsets[i];
  for (const auto& [copy, offset] : layout_.copies)
    if (belongs_to_stream(tensors[copy.first])) memory->offsets[{tensors[copy.first].name, copy.second}] = offset;
  return memory;
}

Configuration::Configuration(std::shared_ptr<const Engine> engine, const Configuration* sibling)
    : engine_(std::move(engine)),
      layout_(make_layout(*engine_)),
      stream_(sibling ? sibling->stream_ : make_stream_memory()),
      own_(engine_->backend(), layout_.own_bytes, purpose(layout_)) {
  engine_->require_weights();
  engine_->tune("", Log());  // where the engine comes from no directory
  for (int lane = 0; lane < lane_count(); ++lane) {
    done_.push_back(engine_->backend()->make_mark());
    taken_.push_back(engine_->backend()->make_mark());
  }
  write_initial_step(sibling != nullptr);
  for (size_t phase = 0; phase < plan().phases.size(); ++phase) {
    const int lane = engine_->lanes().phase_lane[phase];
    std::vector<BoundOp> ops;
    for (const PlanOp& op : plan().phases[phase].ops)
      ops.push_back(engine_->bind(op, [&](int tensor) { return tensor_data(tensor, lane); }));
    programs_.push_back(engine_->backend()->prepare(std::move(ops), lane));
  }
  if (lane_count() > 1) engine_->backend()->synchronize();
}

void* Configuration::tensor_data(int tensor, int lane) const {
  const PlanTensor& entry = plan().tensors[tensor];
  if (entry.kind == TensorKind::kWeight) return engine_->weight_data(tensor);
  if (entry.kind == TensorKind::kView) {
    char* base = static_cast<char*>(tensor_data(entry.base, lane));
    return base + static_cast<size_t>(entry.offset) * dtype_size(engine_->resolve(entry.dtype));
  }
  const auto copy = layout_.copies.find({tensor, lane});
  const bool is_copy = copy != layout_.copies.end();
  const int place = is_copy ? lane : engine_->lanes().home[tensor];
  if (belongs_to_stream(entry)) return stream_->memory.at(stream_->offsets.at({entry.name, place}));
  return own_.at(is_copy ? copy->second : layout_.offsets[tensor]);
}

Program& Configuration::run(size_t phase) {
  const LanePlan& lanes = engine_->lanes();
  const int lane = lanes.phase_lane[phase];
  take_hand_overs(phase);
  for (const HandOver& passed : lanes.hand_overs)
    if (lanes.writes(phase, passed.tensor)) await_readers(passed.tensor);
  programs_[phase]->run();
  if (lane_count() > 1) engine_->backend()->record(*done_[lane], lane);
  return *programs_[phase];
}

// Copies of what other lanes wrote for this phase; the others may write the next once they are made.
void Configuration::take_hand_overs(size_t phase) {
  const LanePlan& lanes = engine_->lanes();
  Backend& backend = *engine_->backend();
  const int lane = lanes.phase_lane[phase];
  bool took = false;
  for (const HandOver& passed : lanes.hand_overs) {
    if (passed.to != lane || !lanes.reads(phase, passed.tensor)) continue;
    backend.wait(*done_[passed.from], lane);
    backend.copy(tensor_data(passed.tensor, lane), home_data(passed.tensor),
                 engine_->tensor_bytes(plan().tensors[passed.tensor]), lane);
    took = true;
  }
  if (took) backend.record(*taken_[lane], lane);
}

// The home lane of a tensor waits until other lanes have their copies of what it holds now.
void Configuration::await_readers(int tensor) {
  for (const HandOver& passed : engine_->lanes().hand_overs)
    if (passed.tensor == tensor) engine_->backend()->wait(*taken_[passed.to], passed.from);
}

void Configuration::write(int tensor, const void* data) {
  Backend& backend = *engine_->backend();
  const size_t bytes = engine_->tensor_bytes(plan().tensors[tensor]);
  const int home = engine_->lanes().home[tensor];
  await_readers(tensor);
  backend.upload(home_data(tensor), data, bytes, home);
  bool passes = false;
  for (const HandOver& passed : engine_->lanes().hand_overs)
    if (passed.tensor == tensor) {
      backend.upload(tensor_data(tensor, passed.to), data, bytes, passed.to);
      passes = true;
    }
  if (passes) backend.record(*done_[home], home);
}

void Configuration::read(int tensor, void* data) const {
  const int home = engine_->lanes().home[tensor];
  engine_->backend()->download(data, home_data(tensor), engine_->tensor_bytes(plan().tensors[tensor]), home);
}

void Configuration::start_download(int tensor, Download& download) const {
  download.start(home_data(tensor), engine_->lanes().home[tensor]);
}

DevicePlace Configuration::place_of(int tensor) const {
  return {static_cast<char*>(home_data(tensor)), engine_->lanes().home[tensor]};
}

void Configuration::write_initial_step(bool only_own) {
  for (size_t i = 0; i < plan().tensors.size(); ++i) {
    const PlanTensor& tensor = plan().tensors[i];
    if (tensor.kind != TensorKind::kStep || (only_own && belongs_to_stream(tensor))) continue;
    write(static_cast<int>(i), initial_bytes(tensor).data());
  }
}

void Configuration::reset() {
  Backend& backend = *engine_->backend();
  if (lane_count() > 1) backend.synchronize();
  for (const Memory* memory : {&stream_->memory, &own_})
    if (memory->bytes()) backend.clear(memory->at(0), memory->bytes(), 0);
  if (lane_count() > 1) backend.synchronize();
  write_initial_step(false);
}

void Configuration::begin() { write_initial_step(true); }

void Configuration::take_slots(const Configuration& from, bool by_slot, int64_t slot) {
  for (size_t i = 0; i < plan().tensors.size(); ++i)
    if (plan().tensors[i].carry == Carry::kSlots) take_tensor(static_cast<int>(i), from, by_slot, slot);
}

void Configuration::take_tensor(int tensor, const Configuration& from, bool by_slot, int64_t only_slot) {
  const PlanTensor& entry = plan().tensors[tensor];
  const int source = from.plan().find(entry.name);
  const int64_t slots = entry.shape[entry.slot_axis];
  const int64_t source_slots = from.plan().tensors[source].shape[entry.slot_axis];
  int64_t outer = 1;
  for (int axis = 0; axis < entry.slot_axis; ++axis) outer *= entry.shape[axis];
  const size_t part = engine_->tensor_bytes(entry) / static_cast<size_t>(outer * slots);
  char* const to = static_cast<char*>(home_data(tensor));
  const char* const data = static_cast<const char*>(from.home_data(source));
  const int lane = engine_->lanes().home[tensor];
  for (int64_t i = 0; i < outer; ++i)
    for (int64_t slot = 0; slot < slots; ++slot) {
      if (only_slot >= 0 && slot != only_slot) continue;
      const int64_t taken = by_slot && slots == source_slots ? slot : source_slots - 1;
      engine_->backend()->copy(to + static_cast<size_t>(i * slots + slot) * part,
                               data + static_cast<size_t>(i * source_slots + taken) * part, part, lane);
    }
}

}  // namespace penstock
