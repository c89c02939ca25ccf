// A session's calls that run on the caller's thread. The worker's side is in live_worker.cpp, finished frames are in
// live_output.cpp.
#include "engine/live_session.h"

namespace penstock {

// One caller inside the model, for the length of a scope.
class LiveSession::Visit {
 public:
  explicit Visit(LiveSession& session) : session_(session) {
    Lock lock(session_.mutex_);
    if (session_.caller_inside_) fail(PENSTOCK_ERR_BUSY, "another thread is in a call on this session");
    session_.caller_inside_ = true;
    session_.changed_.wait(lock, [this] { return !session_.worker_inside_; });
  }
  ~Visit() {
    session_.publish();
    const Lock lock(session_.mutex_);
    session_.caller_inside_ = false;
    session_.changed_.notify_all();
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  LiveSession& session_;
};

LiveSession::LiveSession(std::shared_ptr<const Engine> engine, const LiveSettings& settings, const Log& log,
                         std::shared_ptr<const PromptEmbeddings> prompt)
    : log_(log),
      prompt_(std::move(prompt)),
      settings_(settings),
      engine_(std::move(engine)),
      session_(engine_),
      queue_(settings.queue),
      session_stats_(session_.stats()) {
  session_.stop_when(&cancelled_);
  try {
    stream_.emplace(session_);
    layout_ = stream_->video();
  } catch (const Error& error) {
    if (error.status() != PENSTOCK_ERR_UNSUPPORTED) throw;
  }
  if (layout_ && settings.queue.frames < layout_->first_frames)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "queue_frames: expected at least the ", layout_->first_frames,
         " frames of the first chunk, got ", settings.queue.frames);
  if (settings.output_memory == PENSTOCK_MEMORY_CUDA) {
    session_.engine().backend()->make_frame(1, 1);  // throws where there can be none
    video().keep_on_device();
  }
  if (prompt_) session_.set_prompt(prompt_->dtype, prompt_->shape, prompt_->data.data());
  log_(PENSTOCK_LOG_INFO, "session of ", Session::memory_required(session_.engine()) >> 20, " MiB");
}

// Throws, saying why, for a plan without video phases.
const VideoPlan& LiveSession::video_plan() const {
  if (!layout_) VideoPlan(engine().plan());
  return *layout_;
}

Stream& LiveSession::video() {
  video_plan();
  return *stream_;
}

Picture LiveSession::check(const penstock_frame& frame) {
  const VideoPlan& plan = video_plan();
  const Picture picture = check_picture(frame, plan.width, plan.height);
  if (picture.memory == PENSTOCK_MEMORY_CUDA) engine().backend()->check_memory(picture);
  return picture;
}

// Brings the pixels to where the model takes them from; a CUDA frame in the order of its stream.
void LiveSession::receive(const Picture& picture, Frame& frame) {
  if (picture.memory == PENSTOCK_MEMORY_HOST) return to_rgb(picture, frame.rgb.data());
  {
    const Lock lock(mutex_);
    frame.device = arrivals_.take(*engine().backend(), picture.width, picture.height);
  }
  frame.device->take(picture);
}

void LiveSession::require_going() const {
  if (cancelled_) fail(PENSTOCK_ERR_CANCELLED, "the session was cancelled; reset it to go on");
  if (failure_.status != PENSTOCK_OK)
    fail(failure_.status, "the stream stopped at an error (", failure_.message, "); reset the session");
}

// A stream is fed either by the caller or by the worker.
void LiveSession::drive_by(bool worker) {
  require_going();
  if (driven_by_worker_ && *driven_by_worker_ != worker)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "this stream is driven by ", worker ? "push" : "submit",
         "; reset the session to drive it by ", worker ? "submit" : "push");
  if (ending_) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "submit after the end; reset the session to begin a new stream");
  driven_by_worker_ = worker;
}

void LiveSession::alone(const std::function<void(Session&)>& body) {
  const Visit visit(*this);
  body(session_);
}

void LiveSession::reset() {
  const Visit visit(*this);
  session_.reset();
  if (stream_) stream_->reset();
  in_model_.clear();
  {
    const Lock lock(mutex_);
    cancelled_ = false;
    failure_ = {};
    ending_ = ended_ = false;
    driven_by_worker_.reset();
    queue_.clear();
    stats_ = {};
  }
  if (prompt_) session_.set_prompt(prompt_->dtype, prompt_->shape, prompt_->data.data());
}

void LiveSession::push(const penstock_frame& given) {
  const Visit visit(*this);
  const Picture picture = check(given);
  Frame frame;
  {
    const Lock lock(mutex_);
    drive_by(false);
    frame = queue_.make_frame(video_plan().frame_bytes);
  }
  frame.timestamp = given.timestamp;
  frame.arrived = std::chrono::steady_clock::now();
  receive(picture, frame);
  feed(frame);
  collect();
  const Lock lock(mutex_);
  ++stats_.frames_in;
  queue_.recycle(std::move(frame));
}

// Into the model, which may run a chunk. A frame that it did not take leaves nothing behind.
void LiveSession::feed(const Frame& frame) {
  in_model_.push_back({{}, nullptr, frame.timestamp, frame.arrived});
  try {
    if (frame.device)
      stream_->push(*frame.device);
    else
      stream_->push(frame.rgb.data(), 1);
  } catch (...) {
    in_model_.pop_back();
    throw;
  }
}

void LiveSession::generate(int64_t chunks) {
  const Visit visit(*this);
  Stream& stream = video();
  {
    const Lock lock(mutex_);
    drive_by(false);
  }
  stream.generate(chunks);
  collect();
}

void LiveSession::flush() {
  {
    Lock lock(mutex_);
    if (driven_by_worker_ == true) {
      end();
      ++flushing_;  // nobody may be there to pull
      changed_.notify_all();
      changed_.wait(lock, [this] { return ended_ || has_stopped(); });
      --flushing_;
      return require_going();
    }
  }
  const Visit visit(*this);
  Stream& stream = video();
  {
    const Lock lock(mutex_);
    require_going();
  }
  stream.flush();
  collect();
}

void LiveSession::prepare(const std::shared_ptr<const Engine>& engine) {
  const Visit visit(*this);
  session_.make_ready(engine);
}

void LiveSession::go_on_with(const std::shared_ptr<const Engine>& engine) {
  const Visit visit(*this);
  Stream& stream = video();
  {
    const Lock lock(mutex_);
    require_going();
  }
  stream.go_on_with(engine);
  collect();
}

// The model's own statistics, for those who ask while it runs. A failed device has none to give.
void LiveSession::publish() noexcept try {
  const SessionStats& current = session_.stats();
  const Lock lock(mutex_);
  session_stats_ = current;
  chunks_ = stream_ ? stream_->stats().chunks : 0;
} catch (...) {
}

std::pair<LiveStats, uint64_t> LiveSession::stats() {
  const Lock lock(mutex_);
  return {stats_, queue_.waiting()};
}

SessionStats LiveSession::session_stats() {
  const Lock lock(mutex_);
  return session_stats_;
}

uint64_t LiveSession::chunks() {
  const Lock lock(mutex_);
  return chunks_;
}

}  // namespace penstock
