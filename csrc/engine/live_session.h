// LiveSession: a session as an embedding program drives it. It lets one caller in at a time, converts pictures, and has
// a bounded queue on either side of a worker that runs the model where the caller does not.
//
// Locks. `mutex_` guards the queues, the flags and the published statistics, and is held for short moves only. Whoever
// is inside the model, a caller (caller_inside_) or the worker (worker_inside_), is so without the lock; a caller that
// comes keeps the worker from beginning another chunk, so that it waits for one chunk at most.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "engine/frame_queue.h"
#include "engine/log.h"
#include "engine/picture.h"
#include "engine/prompt_file.h"
#include "engine/stream.h"

namespace penstock {

struct LiveSettings {
  FrameQueue::Settings queue;
  double deadline_ms = 0.0;  // 0: none
  penstock_memory output_memory = PENSTOCK_MEMORY_HOST;
};

// Counts since creation or reset.
struct LiveStats {
  uint64_t frames_in = 0;  // pushed or submitted
  uint64_t frames_out = 0;
  uint64_t frames_dropped = 0;
  uint64_t outputs_dropped = 0;
  uint64_t deadline_misses = 0;
  double last_latency_ms = 0.0;
  double max_latency_ms = 0.0;
};

class LiveSession {
 public:
  // `prompt` is set now and at every reset; null for none.
  LiveSession(std::shared_ptr<const Engine> engine, const LiveSettings& settings, const Log& log,
              std::shared_ptr<const PromptEmbeddings> prompt);
  ~LiveSession();
  LiveSession(const LiveSession&) = delete;
  LiveSession& operator=(const LiveSession&) = delete;

  // Calls body(session) while nobody else is inside. Throws PENSTOCK_ERR_BUSY if another caller is.
  void alone(const std::function<void(Session&)>& body);

  // Callers one at a time, as in alone.
  void reset();
  void push(const penstock_frame& frame);
  void generate(int64_t chunks);
  void flush();
  void prepare(const std::shared_ptr<const Engine>& engine);
  void go_on_with(const std::shared_ptr<const Engine>& engine);

  // Any thread. A timeout in milliseconds; negative: none. False where it ran out.
  bool submit(const penstock_frame& frame, int64_t timeout_ms);
  void submit_end();
  bool wait(int64_t timeout_ms, int64_t& frames);
  int64_t available();
  bool pull(penstock_frame& frame);
  bool take(penstock_frame& frame, Frame& taken);  // with its memory, which `frame` describes
  void cancel() noexcept;
  std::pair<LiveStats, uint64_t> stats();  // and the frames queued
  SessionStats session_stats();
  uint64_t chunks();
  const Engine& engine() const { return *engine_; }

 private:
  class Visit;
  using Lock = std::unique_lock<std::mutex>;

  // What stopped the worker. Fixed room: there may be no memory to be had when it is needed.
  struct Failure {
    penstock_status status = PENSTOCK_OK;
    char message[512] = "";
  };

  Stream& video();
  const VideoPlan& video_plan() const;
  Picture check(const penstock_frame& frame);
  void drive_by(bool worker);
  bool has_stopped() const { return cancelled_ || failure_.status != PENSTOCK_OK; }
  void require_going() const;
  void receive(const Picture& picture, Frame& frame);
  void feed(const Frame& frame);
  void collect();
  void finish(Frame frame);
  bool hand_out(const std::function<void(Frame&)>& body);
  void publish() noexcept;
  size_t chunk_frames();
  bool has_work();
  void work();
  void run_next(Lock& lock);
  void run_chunk(std::vector<Frame>& frames, bool is_last);
  void end();
  template <typename Condition>
  bool wait_until(Lock& lock, int64_t timeout_ms, Condition condition);

  Log log_;
  std::shared_ptr<const PromptEmbeddings> prompt_;
  LiveSettings settings_;
  std::atomic<bool> cancelled_{false};
  const std::shared_ptr<const Engine> engine_;  // that it was created with
  Session session_;
  std::optional<Stream> stream_;     // none for a plan without video phases
  std::optional<VideoPlan> layout_;  // the same in all configurations, but for the delay

  // Of whoever is inside.
  std::deque<Frame> in_model_;  // without pixels: frames whose outputs are not finished yet

  std::mutex mutex_;
  std::condition_variable changed_;
  bool caller_inside_ = false;
  bool worker_inside_ = false;
  bool stopping_ = false;
  bool ending_ = false;                   // submit_end was called
  bool ended_ = false;                    // and done
  int flushing_ = 0;                      // callers that wait for the end
  int arriving_ = 0;                      // submitted frames that are being converted
  std::optional<bool> driven_by_worker_;  // what drives this stream; none yet
  Failure failure_;
  FrameQueue queue_;
  DeviceFramePool arrivals_;  // for submitted and pushed CUDA frames
  LiveStats stats_;
  SessionStats session_stats_;  // as the last one inside left them
  uint64_t chunks_ = 0;
  std::thread worker_;
};

}  // namespace penstock
