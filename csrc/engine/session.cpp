#include "engine/session.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/json.h"

namespace penstock {

Session::Session(std::shared_ptr<const Engine> engine) : active_(std::make_shared<Configuration>(std::move(engine))) {
  count_phases();
}

// Every phase of the active configuration has statistics, run or not.
void Session::count_phases() {
  for (const PlanPhase& phase : active_->plan().phases) stats_.phases.emplace(phase.name, PhaseStats{});
}

void Session::reset() {
  forget_earlier_caches();
  active_->reset();
}

size_t Session::phase_index(std::string_view phase) const {
  const int index = active_->plan().find_phase(phase);
  if (index >= 0) return static_cast<size_t>(index);
  std::string known;
  for (const PlanPhase& entry : active_->plan().phases) known += (known.empty() ? "" : ", ") + entry.name;
  fail(PENSTOCK_ERR_INVALID_ARGUMENT, "no phase ", quoted(phase), "; the plan has: ", known);
}

void Session::run(std::string_view phase) {
  const size_t index = phase_index(phase);
  if (cancelled_ && *cancelled_) fail(PENSTOCK_ERR_CANCELLED, "cancelled before phase ", quoted(phase));
  const std::string& name = active_->plan().phases[index].name;
  collect_time(name);
  Program& program = active_->run(index);
  ++stats_.phases.at(name).runs;
  untimed_[name] = &program;
  last_phase_ = name;
  ++stats_.phases_run;
  if (program.is_graph()) ++stats_.graph_replays;
}

// Adds the time of a phase's last run, once it is done; a run that overlaps the next one stays uncounted.
void Session::collect_time(const std::string& phase) {
  const auto untimed = untimed_.find(phase);
  if (untimed == untimed_.end() || !untimed->second) return;
  const std::optional<double> ms = untimed->second->last_ms();
  if (!ms) return;
  PhaseStats& record = stats_.phases.at(phase);
  record.last_ms = *ms;
  record.total_ms += *ms;
  untimed->second = nullptr;
}

const SessionStats& Session::stats() {
  for (const auto& [name, record] : stats_.phases) collect_time(name);
  if (stats_.phases_run > 0) stats_.last_phase_ms = stats_.phases.at(last_phase_).last_ms;
  return stats_;
}

std::shared_ptr<Configuration> Session::configuration_for(const std::shared_ptr<const Engine>& engine) {
  for (const auto& configuration : ready_)
    if (&configuration->engine() == engine.get()) return configuration;
  if (&active_->engine() == engine.get()) return active_;
  check_switch(active_->engine(), *engine);
  return std::make_shared<Configuration>(engine, active_.get());
}

void Session::make_ready(const std::shared_ptr<const Engine>& engine) {
  auto configuration = configuration_for(engine);
  if (std::find(ready_.begin(), ready_.end(), configuration) == ready_.end())
    ready_.push_back(std::move(configuration));
}

void Session::go_on_with(std::shared_ptr<Configuration> next, bool caches, bool by_slot) {
  if (active_->lane_count() > 1) engine().backend()->synchronize();
  stats();
  untimed_.clear();  // the programs may go
  next->begin();
  if (caches) next->take_slots(*active_, by_slot);
  earlier_ = caches ? active_ : nullptr;
  by_slot_ = by_slot;
  active_ = std::move(next);
  count_phases();
  if (active_->lane_count() > 1) engine().backend()->synchronize();
}

void Session::restore_slot(int64_t slot) {
  if (earlier_) active_->take_slots(*earlier_, by_slot_, slot);
}

int Session::accessible(std::string_view name, size_t size) const {
  const int index = active_->plan().find(name);
  if (index < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "the plan has no tensor ", quoted(name));
  const PlanTensor& tensor = active_->plan().tensors[index];
  const TensorKind kind = tensor.kind;
  if (kind == TensorKind::kWeight || kind == TensorKind::kScratch || kind == TensorKind::kView)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "tensor ", quoted(name), " is a ", kind_name(kind),
         "; only inputs, outputs, state and step state can be read and written");
  if (size != engine().tensor_bytes(tensor))
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "tensor ", quoted(name), " ", shape_text(tensor.shape), " ",
         dtype_name(engine().resolve(tensor.dtype)), ": expected ", engine().tensor_bytes(tensor), " bytes, got ",
         size);
  return index;
}

void Session::write(std::string_view name, const void* data, size_t size) {
  active_->write(accessible(name, size), data);
}

void Session::read(std::string_view name, void* data, size_t size) const {
  active_->read(accessible(name, size), data);
}

std::unique_ptr<Download> Session::make_download(size_t size) const { return engine().backend()->make_download(size); }

void Session::start_download(std::string_view name, size_t size, Download& download) const {
  active_->start_download(accessible(name, size), download);
}

DevicePlace Session::place_of(std::string_view name) const {
  const int index = active_->plan().find(name);
  if (index < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "the plan has no tensor ", quoted(name));
  return active_->place_of(index);
}

void Session::set_prompt(DType dtype, const Shape& shape, const void* embeddings) {
  const Plan& plan = active_->plan();
  const int input = plan.find("prompt_embeddings");
  const int length = plan.find("prompt_length");
  if (input < 0 || length < 0 || plan.tensors[input].shape.size() != 2 || plan.tensors[length].dtype != DType::kI32)
    fail(PENSTOCK_ERR_UNSUPPORTED, "this plan takes no prompt");
  const PlanTensor& target = plan.tensors[input];
  if (!is_floating(dtype) || shape.size() != 2 || shape[0] < 0 || shape[0] > target.shape[0] ||
      shape[1] != target.shape[1])
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "prompt embeddings: expected [rows <= ", target.shape[0], ", ", target.shape[1],
         "] f32, bf16 or f16, got ", shape_text(shape), " ", dtype_name(dtype));
  std::vector<char> padded(engine().tensor_bytes(target));
  convert_elements(dtype, embeddings, engine().resolve(target.dtype), padded.data(), shape[0] * shape[1]);
  write("prompt_embeddings", padded.data(), padded.size());
  const int32_t rows = static_cast<int32_t>(shape[0]);
  write("prompt_length", &rows, sizeof rows);
  run("set_prompt");
}

}  // namespace penstock
