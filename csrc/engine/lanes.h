// Lanes: which of a device's lanes (backend.h) each phase of a plan runs in, and what has to pass between them.
//
// Latency: one lane, in which everything runs in order. Throughput: encoding, denoising and decoding each have one, so
// that the decoder works on one chunk while the next is denoised and the one after it encoded. All follows from what
// the plan's ops read and write. A tensor that one lane writes and another reads (latents, the noise level, x0) has a
// copy in the reading lane, taken before each of its phases: the writer may go on as soon as the copy is made. All
// other tensors belong to one lane, and each lane has its own scratch.
#pragma once

#include <vector>

#include "engine/plan.h"

namespace penstock {

enum class Schedule { kLatency, kThroughput };

struct HandOver {
  int tensor;  // a root, no view
  int from;
  int to;
};

struct LanePlan {
  LanePlan(const Plan& plan, Schedule schedule);  // PENSTOCK_ERR_UNSUPPORTED if two lanes write one tensor

  bool reads(size_t phase, int tensor) const { return reads_[phase][static_cast<size_t>(tensor)]; }
  bool writes(size_t phase, int tensor) const { return writes_[phase][static_cast<size_t>(tensor)]; }

  int lanes = 1;
  std::vector<int> phase_lane;  // by phase
  std::vector<int> home;        // by tensor: the lane that writes it, or else reads it
  std::vector<HandOver> hand_overs;
  std::vector<int64_t> scratch_size;  // by lane, in compute elements

 private:
  void collect_access(const Plan& plan);
  void place(const Plan& plan, size_t tensor);

  std::vector<std::vector<bool>> reads_, writes_;  // by phase and root tensor
};

}  // namespace penstock
