#include "ops/ring_queue/ring_queue.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "engine/cpu/sink_similarity.h"
#include "engine/cpu/step_state.h"

namespace penstock::ops {
namespace {

constexpr int64_t kLastPosition = (1 << 24) - 1;

// A slot's queue, front first.
class FrameQueue {
 public:
  FrameQueue(const OpArgs& args, int64_t slot)
      : capacity_(args.dim("Q")),
        ends_(args.data<int32_t>("queue") + slot * capacity_),
        size_(args.data<int32_t>("queue_size") + slot) {
    checked_state(args, "queue_size", slot, 0, capacity_);
  }

  bool empty() const { return *size_ == 0; }
  int32_t back() const { return ends_[*size_ - 1]; }

  void push_back(int64_t end) {
    if (*size_ == capacity_)
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "ring_queue: the queue is full (", capacity_, " entries)");
    ends_[(*size_)++] = static_cast<int32_t>(end);
  }

  // Sinks are always ahead of the rolling frames, the newest first.
  void push_sink(int64_t end, int64_t sinks) {
    if (*size_ == capacity_) {
      const int32_t* rolling = std::find_if(ends_, ends_ + *size_, [&](int32_t other) { return other > sinks; });
      const int64_t oldest_sink = rolling - ends_ - 1;
      if (oldest_sink < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "ring_queue: the queue holds no room for a sink");
      std::copy(rolling, static_cast<const int32_t*>(ends_ + *size_), ends_ + oldest_sink);
      --*size_;
    }
    std::copy_backward(ends_, ends_ + *size_, ends_ + *size_ + 1);
    ends_[0] = static_cast<int32_t>(end);
    ++*size_;
  }

  int32_t pop_front() {
    const int32_t end = ends_[0];
    std::copy(ends_ + 1, ends_ + *size_, ends_);
    --*size_;
    return end;
  }

 private:
  int64_t capacity_;
  int32_t* ends_;
  int32_t* size_;
};

// Step b: the frame behind the place that the chunk overwrites.
int64_t overwrite(const OpArgs& args, int64_t slot, FrameQueue& queue) {
  if (queue.empty()) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "ring_queue: the cache is full and the queue is empty");
  const int64_t end = checked_state(args, "queue", slot * args.dim("Q"), args.dim("F"), args.dim("K"));
  const int64_t passes = args.integer("passes"), step = checked_state(args, "current_step", slot, 1, passes);
  if (step == 1) {
    queue.pop_front();
    if (end > args.dim("Z")) queue.push_back(end);
  }
  args.data<int32_t>("current_step")[slot] = static_cast<int32_t>(step > 1 ? step - 1 : passes);
  return end;
}

// Step c: the frame behind the place at the end of what is filled.
int64_t append(const OpArgs& args, int64_t slot, int64_t position, FrameQueue& queue) {
  const int64_t frames = args.dim("F"), capacity = args.dim("K"), following = position + 2 * frames;
  const int64_t seen = checked_state(args, "global_end", slot, 0, kLastPosition);
  const int64_t end = args.data<const int32_t>("local_end")[slot] + position + frames - seen;
  if (end < frames || end > capacity)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "ring_queue: frame_position[", slot, "] is ", position, ", global_end is ",
         seen, ": the chunk would end at cache frame ", end, " of ", capacity);
  const bool joins = following > args.dim("Z") && following <= capacity;
  if (joins && (queue.empty() || queue.back() != following)) queue.push_back(following);
  return end;
}

void set_state(const OpArgs& args, int64_t slot, int64_t seen, int64_t filled, int64_t write) {
  args.data<int32_t>("global_end")[slot] = static_cast<int32_t>(seen);
  args.data<int32_t>("local_end")[slot] = static_cast<int32_t>(filled);
  args.data<int32_t>("ring_length")[slot] = static_cast<int32_t>(filled);
  args.data<int32_t>("ring_write")[slot] = static_cast<int32_t>(write);
}

void begin_stream(const OpArgs& args, int64_t slot) {
  const int64_t first = args.dim("G");
  args.data<int32_t>("current_step")[slot] = static_cast<int32_t>(args.integer("passes"));
  args.data<int32_t>("queue_size")[slot] = 0;
  if (2 * first > args.dim("Z") && 2 * first <= args.dim("K")) FrameQueue(args, slot).push_back(2 * first);
  set_state(args, slot, first, first, 0);
}

void place_chunk(const OpArgs& args, int64_t slot, const double* similarity) {
  const int64_t frames = args.dim("F"), capacity = args.dim("K"), sinks = args.dim("Z");
  const int64_t position = checked_state(args, "frame_position", slot, 0, kLastPosition);
  FrameQueue queue(args, slot);
  if (const auto sink = sink_to_refresh(similarity + slot * sinks, sinks, args.real("threshold")))
    queue.push_sink(*sink + 1, sinks);
  const bool full = position + frames > capacity || args.data<const int32_t>("local_end")[slot] == capacity;
  const int64_t end = full ? overwrite(args, slot, queue) : append(args, slot, position, queue);
  set_state(args, slot, position + frames, full ? capacity : end, end - frames);
}

}  // namespace

void ring_queue_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), sinks = args.dim("Z");
  if (args.choice("phase") == "first") {
    for (int64_t s = 0; s < slots; ++s) begin_stream(args, s);
    return;
  }
  if (!args.has("frame_position")) fail(PENSTOCK_ERR_BAD_PLAN, "ring_queue: phase next needs the role frame_position");
  const bool adaptive = args.has("k");
  for (const char* role : {"v", "k_cache", "v_cache"})
    if (args.has(role) != adaptive) fail(PENSTOCK_ERR_BAD_PLAN, "ring_queue: k and ", role, " come together or not");

  std::vector<int64_t> filled_sinks;
  for (int64_t s = 0; s < slots; ++s)
    filled_sinks.push_back(std::min(sinks, checked_state(args, "local_end", s, 0, args.dim("K"))));
  std::vector<double> similarity(static_cast<size_t>(slots * sinks), std::numeric_limits<double>::infinity());
  if (adaptive) similarity = sink_similarity(args, filled_sinks, pool);
  for (int64_t s = 0; s < slots; ++s) place_chunk(args, s, similarity.data());
}

}  // namespace penstock::ops
