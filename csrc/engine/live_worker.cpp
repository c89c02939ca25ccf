// A session's worker: it takes chunks of submitted frames through the model.
#include <cstdio>

#include "engine/live_session.h"

namespace penstock {

LiveSession::~LiveSession() {
  {
    const Lock lock(mutex_);
    stopping_ = true;
    cancelled_ = true;
    changed_.notify_all();
  }
  if (worker_.joinable()) worker_.join();
}

void LiveSession::cancel() noexcept {
  const Lock lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

template <typename Condition>
bool LiveSession::wait_until(Lock& lock, int64_t timeout_ms, Condition condition) {
  constexpr int64_t kForEver = int64_t{1000} * 3600 * 24 * 365;  // what a clock can add without overflow
  if (timeout_ms >= 0 && timeout_ms < kForEver)
    return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), condition);
  changed_.wait(lock, condition);
  return true;
}

bool LiveSession::submit(const penstock_frame& given, int64_t timeout_ms) {
  const auto arrived = std::chrono::steady_clock::now();
  const Picture picture = check(given);
  const VideoPlan& plan = video_plan();
  if (!plan.encodes) fail(PENSTOCK_ERR_UNSUPPORTED, "submit: this plan takes no frames, it is text-to-video");
  Lock lock(mutex_);
  drive_by(true);
  const auto has_place = [this] { return !queue_.is_full(arriving_) || has_stopped() || ending_; };
  if (!wait_until(lock, timeout_ms, has_place)) return false;
  drive_by(true);
  Frame frame = queue_.make_frame(plan.frame_bytes);
  frame.timestamp = given.timestamp;
  frame.arrived = arrived;
  if (!worker_.joinable()) worker_ = std::thread([this] { work(); });
  ++arriving_;
  lock.unlock();
  try {
    receive(picture, frame);
  } catch (...) {
    lock.lock();
    --arriving_;
    throw;
  }
  lock.lock();
  --arriving_;
  drive_by(true);
  stats_.frames_dropped += queue_.add(std::move(frame));
  ++stats_.frames_in;
  changed_.notify_all();
  return true;
}

// With the lock held.
void LiveSession::end() {
  require_going();
  if (driven_by_worker_ != true)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "submit_end: no frame was submitted to this stream");
  ending_ = true;
}

void LiveSession::submit_end() {
  const Lock lock(mutex_);
  end();
  changed_.notify_all();
}

bool LiveSession::wait(int64_t timeout_ms, int64_t& frames) {
  frames = 0;
  video_plan();
  Lock lock(mutex_);
  const auto is_known = [this] {
    return queue_.finished() > 0 || ended_ || has_stopped() || driven_by_worker_ == false;
  };
  if (!wait_until(lock, timeout_ms, is_known)) return false;
  frames = static_cast<int64_t>(queue_.finished());
  if (frames == 0) require_going();
  return true;
}

size_t LiveSession::chunk_frames() {
  const VideoPlan& plan = video_plan();
  return static_cast<size_t>(stream_->stats().chunks == 0 ? plan.first_frames : plan.next_frames);
}

// With the lock held, the worker outside of the model.
bool LiveSession::has_work() {
  if (caller_inside_ || has_stopped() || ended_ || driven_by_worker_ != true) return false;
  if (queue_.is_stalled() && flushing_ == 0) return false;
  return queue_.waiting() >= chunk_frames() || (ending_ && arriving_ == 0);
}

void LiveSession::work() {
  Lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || has_work(); });
    if (stopping_) return;
    run_next(lock);
  }
}

// Takes the next chunk through the model; comes and goes with the lock held.
void LiveSession::run_next(Lock& lock) {
  worker_inside_ = true;
  Failure failure;
  bool is_last = false;
  try {
    uint64_t overtaken = 0;
    const size_t needed = chunk_frames();
    std::vector<Frame> frames = queue_.take(needed, overtaken);
    stats_.frames_dropped += overtaken;
    is_last = frames.size() < needed;
    changed_.notify_all();
    lock.unlock();
    run_chunk(frames, is_last);
  } catch (...) {
    with_current_exception([&](penstock_status status, const char* message) {
      failure.status = status;
      std::snprintf(failure.message, sizeof failure.message, "%s", message);
    });
  }
  if (lock.owns_lock()) lock.unlock();
  publish();
  if (failure.status != PENSTOCK_OK && failure.status != PENSTOCK_ERR_CANCELLED)
    log_(PENSTOCK_LOG_ERROR, "the stream stopped: ", failure.message);
  lock.lock();
  worker_inside_ = false;
  failure_ = failure;
  ended_ = is_last && failure.status == PENSTOCK_OK;
  changed_.notify_all();
}

void LiveSession::run_chunk(std::vector<Frame>& frames, bool is_last) {
  for (const Frame& frame : frames) feed(frame);
  if (is_last) stream_->flush();
  collect();
  const Lock lock(mutex_);
  for (Frame& frame : frames) queue_.recycle(std::move(frame));
}

}  // namespace penstock
