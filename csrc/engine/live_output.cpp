// A session's finished frames: from the model to the queue, and from there to the host.
#include <algorithm>

#include "engine/live_session.h"

namespace penstock {

// Moves what the stream finished to the queue. Called by whoever is inside.
void LiveSession::collect() {
  const bool on_device = settings_.output_memory == PENSTOCK_MEMORY_CUDA;
  while (stream_->available() > 0) {
    Frame frame;
    {
      const Lock lock(mutex_);
      frame = queue_.make_frame(on_device ? 0 : video_plan().frame_bytes);
    }
    if (on_device)
      frame.device = stream_->pull_device();
    else
      stream_->pull(frame.rgb.data(), 1);
    if (!in_model_.empty()) {
      frame.timestamp = in_model_.front().timestamp;
      frame.arrived = in_model_.front().arrived;
      in_model_.pop_front();
    }
    finish(std::move(frame));
  }
}

void LiveSession::finish(Frame frame) {
  const Lock lock(mutex_);
  if (video_plan().encodes) {
    const auto age = std::chrono::steady_clock::now() - frame.arrived;
    stats_.last_latency_ms = std::chrono::duration<double, std::milli>(age).count();
    stats_.max_latency_ms = std::max(stats_.max_latency_ms, stats_.last_latency_ms);
    if (settings_.deadline_ms > 0 && stats_.last_latency_ms > settings_.deadline_ms) ++stats_.deadline_misses;
  } else {
    frame.timestamp = static_cast<int64_t>(stats_.frames_out);
  }
  ++stats_.frames_out;
  stats_.outputs_dropped += queue_.add_finished(std::move(frame));
  changed_.notify_all();
}

int64_t LiveSession::available() {
  const Lock lock(mutex_);
  if (queue_.finished() == 0) require_going();
  return static_cast<int64_t>(queue_.finished());
}

// Calls body with the oldest finished frame; false if there is none. A frame that it fails with is not lost.
bool LiveSession::hand_out(const std::function<void(Frame&)>& body) {
  Frame frame;
  {
    const Lock lock(mutex_);
    if (queue_.finished() == 0) {
      require_going();
      return false;
    }
    frame = queue_.take_finished();
    changed_.notify_all();
  }
  try {
    body(frame);
  } catch (...) {
    const Lock lock(mutex_);
    queue_.put_back(std::move(frame));
    throw;
  }
  const Lock lock(mutex_);
  queue_.recycle(std::move(frame));
  return true;
}

bool LiveSession::pull(penstock_frame& given) {
  const Picture picture = check(given);
  if (picture.memory != settings_.output_memory)
    fail(PENSTOCK_ERR_UNSUPPORTED, "frame: expected the memory of the session's output_memory, got the other one");
  return hand_out([&](Frame& frame) {
    if (frame.device)
      frame.device->give(picture);
    else
      from_rgb(frame.rgb.data(), picture);
    given.timestamp = frame.timestamp;
  });
}

bool LiveSession::take(penstock_frame& given, Frame& taken) {
  const VideoPlan& plan = video_plan();
  return hand_out([&](Frame& frame) {
    void* memory = frame.device ? frame.device->lend(given.cuda_stream) : frame.rgb.data();
    given.format = PENSTOCK_RGB8;
    given.memory = settings_.output_memory;
    given.width = static_cast<int32_t>(plan.width);
    given.height = static_cast<int32_t>(plan.height);
    given.planes[0] = memory;
    given.planes[1] = nullptr;
    given.strides[0] = 3 * plan.width;
    given.strides[1] = 0;
    given.timestamp = frame.timestamp;
    taken = std::move(frame);
  });
}

}  // namespace penstock
