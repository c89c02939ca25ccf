// Session: one stream's state over an engine. One thread at a time.
#pragma once

#include <atomic>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/engine.h"

namespace penstock {

struct PhaseStats {
  uint64_t runs = 0;
  double last_ms = 0.0;
  double total_ms = 0.0;
  bool timed = true;  // whether the last run's time is in the above
};

struct SessionStats {
  uint64_t phases_run = 0;
  uint64_t graph_replays = 0;
  double last_phase_ms = 0.0;
  std::vector<PhaseStats> phases;  // by phase of the plan
};

class Session {
 public:
  explicit Session(std::shared_ptr<const Engine> engine);

  static size_t memory_required(const Engine& engine);

  void reset();
  void run(std::string_view phase);
  void write(std::string_view name, const void* data, size_t size);
  void read(std::string_view name, void* data, size_t size) const;

  // Where a tensor of the plan lies on the device.
  void* memory_of(std::string_view name) const;

  // embeddings [rows, text_dim]; the rest of the plan's rows is zero padding.
  void set_prompt(DType dtype, const Shape& shape, const void* embeddings);

  // From now on no phase begins while `flag` is set: run throws PENSTOCK_ERR_CANCELLED.
  void stop_when(const std::atomic<bool>* flag) { cancelled_ = flag; }

  const SessionStats& stats();
  const Engine& engine() const { return *engine_; }

 private:
  // Where each tensor lives: step state, then state, inputs and outputs, then the scratch arena.
  struct Layout {
    std::vector<size_t> offsets;  // by tensor; weights excepted
    size_t scratch = 0;           // where the scratch arena begins
    size_t total = 0;
  };
  static Layout make_layout(const Engine& engine);

  void collect_time(size_t phase);
  void* tensor_data(int tensor) const;
  BoundOp bind(const PlanOp& op) const;
  void write_initial_step(int tensor);
  int accessible(std::string_view name, size_t size) const;

  std::shared_ptr<const Engine> engine_;
  Layout layout_;
  Memory memory_;
  std::vector<std::unique_ptr<Program>> programs_;  // by phase
  SessionStats stats_;
  size_t last_phase_ = 0;
  const std::atomic<bool>* cancelled_ = nullptr;
};

}  // namespace penstock
