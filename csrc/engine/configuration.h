// Configuration: what a session has of one engine: memory for its tensors, and its phases bound to it.
//
// Where tensors live: step state and states that go over to other configurations of the stream ("carry": "same") in
// memory that all of them share; everything else, and the scratch arenas, in the configuration's own. A tensor that
// passes from lane to lane (lanes.h) has its home and a copy in each lane that reads it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace penstock {

// The tensors that a stream keeps whatever its configuration, by name and lane.
struct StreamMemory {
  StreamMemory(std::shared_ptr<Backend> backend, size_t bytes, const std::string& purpose)
      : memory(std::move(backend), bytes, purpose) {}

  Memory memory;
  std::map<std::pair<std::string, int>, size_t> offsets;
};

class Configuration {
 public:
  // `sibling`: a configuration of the same stream, which the engine has been checked against; or null.
  explicit Configuration(std::shared_ptr<const Engine> engine, const Configuration* sibling = nullptr);

  // Device bytes of a session's first configuration.
  static size_t memory_required(const Engine& engine);

  const Engine& engine() const { return *engine_; }
  const Plan& plan() const { return engine_->plan(); }
  int lane_count() const { return engine_->lanes().lanes; }

  // Runs a phase in its lane, behind what it depends on in the others; returns its program.
  Program& run(size_t phase);

  // A whole tensor, in order with the phases that use it.
  void write(int tensor, const void* data);
  void read(int tensor, void* data) const;
  void start_download(int tensor, Download& download) const;
  DevicePlace place_of(int tensor) const;

  void reset();  // the stream's memory too

  // Step state of its own gets its initial values: a stream goes on with this configuration.
  void begin();

  // The tensors with slots are filled from another configuration's: slot i from slot i where both have as many and
  // `by_slot`, else from the last one. `slot`: only that one; -1: all.
  void take_slots(const Configuration& from, bool by_slot, int64_t slot = -1);

 private:
  // Offsets into the stream's memory or the configuration's own; weights and views excepted.
  struct Layout {
    std::vector<size_t> offsets;                        // by tensor, in its home
    std::map<std::pair<int, int>, size_t> copies = {};  // by tensor and lane
    size_t stream_bytes = 0;
    size_t own_bytes = 0;      // the scratch arenas at the end
    size_t scratch_bytes = 0;  // of them
  };
  static Layout make_layout(const Engine& engine);
  static std::string purpose(const Layout& layout);  // for the message when there is too little memory
  static size_t place(Layout& layout, const Engine& engine, int tensor);

  std::shared_ptr<StreamMemory> make_stream_memory() const;
  void* tensor_data(int tensor, int lane) const;
  void* home_data(int tensor) const { return tensor_data(tensor, engine_->lanes().home[static_cast<size_t>(tensor)]); }
  void take_hand_overs(size_t phase);
  void await_readers(int tensor);
  void write_initial_step(bool only_own);
  void take_tensor(int tensor, const Configuration& from, bool by_slot, int64_t slot);

  std::shared_ptr<const Engine> engine_;
  Layout layout_;
  std::shared_ptr<StreamMemory> stream_;
  Memory own_;
  std::vector<std::unique_ptr<Program>> programs_;  // by phase
  std::vector<std::unique_ptr<Mark>> done_;         // by lane: behind its last phase, or the last write of the host
  std::vector<std::unique_ptr<Mark>> taken_;        // by lane: behind the last copies that it took from others
};

// Throws PENSTOCK_ERR_UNSUPPORTED, saying in one line why, unless a stream over `from` can go on over `to`.
void check_switch(const Engine& from, const Engine& to);

}  // namespace penstock
