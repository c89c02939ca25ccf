#include "engine/frame_queue.h"

#include <algorithm>
#include <utility>

namespace penstock {

uint64_t FrameQueue::add(Frame frame) {
  waiting_.push_back(std::move(frame));
  uint64_t dropped = 0;
  for (; drops() && waiting_.size() > capacity(); ++dropped) {
    recycle(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return dropped;
}

uint64_t FrameQueue::add_finished(Frame frame) {
  finished_.push_back(std::move(frame));
  uint64_t dropped = 0;
  for (; drops() && finished_.size() > capacity(); ++dropped) recycle(take_finished());
  return dropped;
}

std::vector<Frame> FrameQueue::take(size_t count, uint64_t& dropped) {
  count = std::min(count, waiting_.size());
  dropped = 0;
  if (settings_.policy == PENSTOCK_QUEUE_LATEST_WINS) {
    for (; waiting_.size() > count; ++dropped) {
      recycle(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }
  const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<Frame> taken(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
  waiting_.erase(waiting_.begin(), end);
  return taken;
}

Frame FrameQueue::take_finished() {
  Frame frame = std::move(finished_.front());
  finished_.pop_front();
  return frame;
}

void FrameQueue::clear() {
  waiting_.clear();
  finished_.clear();
}

Frame FrameQueue::make_frame(size_t bytes) {
  Frame frame;
  if (!spare_.empty()) {
    frame = std::move(spare_.back());
    spare_.pop_back();
  }
  frame.rgb.resize(bytes);
  return frame;
}

void FrameQueue::recycle(Frame frame) {
  frame.device.reset();
  if (spare_.size() < capacity()) spare_.push_back(std::move(frame));
}

}  // namespace penstock
