#include "engine/session.h"

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

}  // namespace

Session::Layout Session::make_layout(const Engine& engine) {
  Layout layout;
  const std::vector<PlanTensor>& tensors = engine.plan().tensors;
  layout.offsets.assign(tensors.size(), 0);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorKind kind = tensors[i].kind;
    if (kind == TensorKind::kWeight || kind == TensorKind::kScratch || kind == TensorKind::kView) continue;
    layout.offsets[i] = layout.total;
    layout.total += align_up(engine.tensor_bytes(tensors[i]));
  }
  layout.scratch = layout.total;
  const size_t unit = dtype_size(engine.backend()->compute_dtype());
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].kind == TensorKind::kScratch)
      layout.offsets[i] = layout.scratch + static_cast<size_t>(tensors[i].offset) * unit;
  }
  layout.total += align_up(static_cast<size_t>(engine.plan().scratch_size) * unit);
  return layout;
}

size_t Session::memory_required(const Engine& engine) { return make_layout(engine).total; }

Session::Session(std::shared_ptr<const Engine> engine)
    : engine_(std::move(engine)), layout_(make_layout(*engine_)), memory_(engine_->backend(), layout_.total) {
  engine_->require_weights();
  const Plan& plan = engine_->plan();
  for (size_t i = 0; i < plan.tensors.size(); ++i)
    if (plan.tensors[i].kind == TensorKind::kStep) write_initial_step(static_cast<int>(i));
  for (const PlanPhase& phase : plan.phases) {
    std::vector<BoundOp> ops;
    for (const PlanOp& op : phase.ops) ops.push_back(bind(op));
    programs_.push_back(engine_->backend()->prepare(std::move(ops)));
  }
  stats_.phases.resize(plan.phases.size());
}

void* Session::tensor_data(int tensor) const {
  const PlanTensor& entry = engine_->plan().tensors[tensor];
  if (entry.kind == TensorKind::kWeight) return engine_->weight_data(tensor);
  if (entry.kind != TensorKind::kView) return memory_.at(layout_.offsets[tensor]);
  char* base = static_cast<char*>(tensor_data(entry.base));
  return base + static_cast<size_t>(entry.offset) * dtype_size(engine_->resolve(entry.dtype));
}

BoundOp Session::bind(const PlanOp& op) const {
  OpArgs args{op.definition->contract, {}, op.attributes, op.symbols};
  for (int tensor : op.tensors) {
    TensorView view;
    if (tensor >= 0) {
      const PlanTensor& entry = engine_->plan().tensors[tensor];
      view = TensorView{tensor_data(tensor), engine_->resolve(entry.dtype), entry.shape};
    }
    args.tensors.push_back(std::move(view));
  }
  return BoundOp{op.definition, std::move(args)};
}

void Session::write_initial_step(int tensor) {
  const std::vector<char> bytes = initial_bytes(engine_->plan().tensors[tensor]);
  engine_->backend()->upload(tensor_data(tensor), bytes.data(), bytes.size());
}

void Session::reset() {
  if (layout_.total) engine_->backend()->clear(memory_.at(0), layout_.total);
  const std::vector<PlanTensor>& tensors = engine_->plan().tensors;
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].kind == TensorKind::kStep) write_initial_step(static_cast<int>(i));
}

void Session::run(std::string_view phase) {
  const size_t index = engine_->phase_index(phase);
  if (cancelled_ && *cancelled_) fail(PENSTOCK_ERR_CANCELLED, "cancelled before phase ", quoted(phase));
  collect_time(index);
  programs_[index]->run();
  PhaseStats& record = stats_.phases[index];
  ++record.runs;
  record.timed = false;
  last_phase_ = index;
  ++stats_.phases_run;
  if (programs_[index]->is_graph()) ++stats_.graph_replays;
}

// Adds the time of a phase's last run, once it is done; a run that overlaps the next one stays uncounted.
void Session::collect_time(size_t phase) {
  PhaseStats& record = stats_.phases[phase];
  if (record.timed) return;
  const std::optional<double> ms = programs_[phase]->last_ms();
  if (!ms) return;
  record.last_ms = *ms;
  record.total_ms += *ms;
  record.timed = true;
}

const SessionStats& Session::stats() {
  for (size_t i = 0; i < programs_.size(); ++i) collect_time(i);
  if (stats_.phases_run > 0) stats_.last_phase_ms = stats_.phases[last_phase_].last_ms;
  return stats_;
}

int Session::accessible(std::string_view name, size_t size) const {
  const int index = engine_->plan().find(name);
  if (index < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "the plan has no tensor ", quoted(name));
  const PlanTensor& tensor = engine_->plan().tensors[index];
  const TensorKind kind = tensor.kind;
  if (kind == TensorKind::kWeight || kind == TensorKind::kScratch || kind == TensorKind::kView)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "tensor ", quoted(name), " is a ", kind_name(kind),
         "; only inputs, outputs, state and step state can be read and written");
  if (size != engine_->tensor_bytes(tensor))
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "tensor ", quoted(name), " ", shape_text(tensor.shape), " ",
         dtype_name(engine_->resolve(tensor.dtype)), ": expected ", engine_->tensor_bytes(tensor), " bytes, got ",
         size);
  return index;
}

void Session::write(std::string_view name, const void* data, size_t size) {
  engine_->backend()->upload(tensor_data(accessible(name, size)), data, size);
}

void Session::read(std::string_view name, void* data, size_t size) const {
  engine_->backend()->download(data, tensor_data(accessible(name, size)), size);
}

void* Session::memory_of(std::string_view name) const {
  const int index = engine_->plan().find(name);
  if (index < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "the plan has no tensor ", quoted(name));
  return tensor_data(index);
}

void Session::set_prompt(DType dtype, const Shape& shape, const void* embeddings) {
  const Plan& plan = engine_->plan();
  const int input = plan.find("prompt_embeddings");
  const int length = plan.find("prompt_length");
  if (input < 0 || length < 0 || plan.tensors[input].shape.size() != 2 || plan.tensors[length].dtype != DType::kI32)
    fail(PENSTOCK_ERR_UNSUPPORTED, "this plan takes no prompt");
  const PlanTensor& target = plan.tensors[input];
  if (!is_floating(dtype) || shape.size() != 2 || shape[0] < 0 || shape[0] > target.shape[0] ||
      shape[1] != target.shape[1])
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "prompt embeddings: expected [rows <= ", target.shape[0], ", ", target.shape[1],
         "] f32, bf16 or f16, got ", shape_text(shape), " ", dtype_name(dtype));
  std::vector<char> padded(engine_->tensor_bytes(target));
  convert_elements(dtype, embeddings, engine_->resolve(target.dtype), padded.data(), shape[0] * shape[1]);
  write("prompt_embeddings", padded.data(), padded.size());
  const int32_t rows = static_cast<int32_t>(shape[0]);
  write("prompt_length", &rows, sizeof rows);
  run("set_prompt");
}

}  // namespace penstock
