// Session: one stream's state over an engine. One thread at a time.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/configuration.h"

namespace penstock {

struct PhaseStats {
  uint64_t runs = 0;
  double last_ms = 0.0;
  double total_ms = 0.0;
};

struct SessionStats {
  uint64_t phases_run = 0;
  uint64_t graph_replays = 0;
  double last_phase_ms = 0.0;
  std::map<std::string, PhaseStats> phases;  // of all configurations that the session had
};

// Its tensors are those of one configuration at a time. A stream can go on with another one between two chunks: what is
// the stream's (Carry::kSame) is in memory that all its configurations share, what is in the rolling caches is copied.
class Session {
 public:
  explicit Session(std::shared_ptr<const Engine> engine);

  static size_t memory_required(const Engine& engine) { return Configuration::memory_required(engine); }

  void reset();
  void run(std::string_view phase);
  void write(std::string_view name, const void* data, size_t size);
  void read(std::string_view name, void* data, size_t size) const;

  // Reading a tensor in two steps, so that what it waits for can run meanwhile.
  std::unique_ptr<Download> make_download(size_t size) const;
  void start_download(std::string_view name, size_t size, Download& download) const;

  // Where a tensor of the plan lies on the device, and the lane in whose order it may be touched there.
  DevicePlace place_of(std::string_view name) const;

  // embeddings [rows, text_dim]; the rest of the plan's rows is zero padding.
  void set_prompt(DType dtype, const Shape& shape, const void* embeddings);

  // From now on no phase begins while `flag` is set: run throws PENSTOCK_ERR_CANCELLED.
  void stop_when(const std::atomic<bool>* flag) { cancelled_ = flag; }

  // The configuration of an engine, kept or made now. Throws PENSTOCK_ERR_UNSUPPORTED if the stream cannot go on with
  // it.
  std::shared_ptr<Configuration> configuration_for(const std::shared_ptr<const Engine>& engine);

  // Makes a configuration now, and keeps it for as long as the session lives.
  void make_ready(const std::shared_ptr<const Engine>& engine);

  // Goes on with another configuration; the one it leaves is released unless it was made ready. `caches`: whether the
  // rolling caches go over; `by_slot`: slot by slot where there are as many, else the last slot's goes to all.
  void go_on_with(std::shared_ptr<Configuration> next, bool caches, bool by_slot);

  // While a new stream batch fills, its later slots hold no chunk and what they write to their caches is of no use.
  // Gives such a slot the caches that it had when the stream went on with this configuration.
  void restore_slot(int64_t slot);
  void forget_earlier_caches() { earlier_.reset(); }

  const SessionStats& stats();
  const Engine& engine() const { return active_->engine(); }
  bool overlaps() const { return active_->lane_count() > 1; }

 private:
  void count_phases();
  size_t phase_index(std::string_view phase) const;
  void collect_time(const std::string& phase);
  int accessible(std::string_view name, size_t size) const;

  std::shared_ptr<Configuration> active_;
  std::vector<std::shared_ptr<Configuration>> ready_;
  std::shared_ptr<Configuration> earlier_;  // whose caches a filling stream batch is restored from
  bool by_slot_ = false;                    // how they went over
  SessionStats stats_;
  std::map<std::string, Program*> untimed_;  // by phase: the program whose last run's time is not in the stats; or null
  std::string last_phase_;
  const std::atomic<bool>* cancelled_ = nullptr;
};

}  // namespace penstock
