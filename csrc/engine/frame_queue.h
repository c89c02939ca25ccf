// FrameQueue: the frames that wait for the model, and the finished ones that wait to be pulled; both bounded.
// Not synchronised: its owner is.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <vector>

#include "engine/backend.h"

namespace penstock {

struct Frame {
  std::vector<uint8_t> rgb;             // [height, width, 3]; or
  std::shared_ptr<DeviceFrame> device;  // the same in device memory
  int64_t timestamp = 0;
  std::chrono::steady_clock::time_point arrived;
};

class FrameQueue {
 public:
  struct Settings {
    penstock_queue_policy policy = PENSTOCK_QUEUE_BLOCK;
    int32_t frames = 16;  // of either queue
  };
  explicit FrameQueue(const Settings& settings) : settings_(settings) {}

  // Whether another frame must wait for room; `arriving` have their place already.
  bool is_full(int arriving) const { return !drops() && waiting_.size() + static_cast<size_t>(arriving) >= capacity(); }
  // Whether finished frames must be pulled before the model goes on.
  bool is_stalled() const { return !drops() && finished_.size() >= capacity(); }

  // Both return how many frames the policy dropped for it.
  uint64_t add(Frame frame);
  uint64_t add_finished(Frame frame);

  size_t waiting() const { return waiting_.size(); }
  size_t finished() const { return finished_.size(); }

  // The next `count` frames for the model, in order; `dropped` counts those that newer ones overtook.
  std::vector<Frame> take(size_t count, uint64_t& dropped);
  Frame take_finished();
  void put_back(Frame finished) { finished_.push_front(std::move(finished)); }
  void clear();

  // A frame with room for `bytes`, perhaps one that was used before.
  Frame make_frame(size_t bytes);
  void recycle(Frame frame);

 private:
  bool drops() const { return settings_.policy != PENSTOCK_QUEUE_BLOCK; }
  size_t capacity() const { return static_cast<size_t>(settings_.frames); }

  Settings settings_;
  std::deque<Frame> waiting_;
  std::deque<Frame> finished_;
  std::vector<Frame> spare_;
};

}  // namespace penstock
