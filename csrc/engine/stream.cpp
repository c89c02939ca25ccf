#include "engine/stream.h"

#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "engine/json.h"

namespace penstock {
namespace {

// Chunks whose decoded frames the host does not wait for yet under the schedule throughput: while one is decoded, the
// next is denoised and the one after it encoded.
constexpr size_t kBehind = 2;

const PlanTensor* find_frames(const Plan& plan, const char* name) {
  const int index = plan.find(name);
  if (index < 0) return nullptr;
  const PlanTensor& tensor = plan.tensors[index];
  if (tensor.dtype != DType::kU8 || tensor.shape.size() != 4 || tensor.shape[3] != 3 || tensor.shape[0] < 1)
    fail(PENSTOCK_ERR_UNSUPPORTED, "plan tensor ", quoted(name), ": expected [frames, height, width, 3] u8, got ",
         shape_text(tensor.shape), " ", dtype_name(tensor.dtype));
  return &tensor;
}

void require_same_shape(const PlanTensor* a, const PlanTensor* b) {
  if (a->shape != b->shape)
    fail(PENSTOCK_ERR_UNSUPPORTED, "plan tensors ", quoted(a->name), " ", shape_text(a->shape), " and ",
         quoted(b->name), " ", shape_text(b->shape), ": expected equal shapes");
}

}  // namespace

VideoPlan::VideoPlan(const Plan& plan) {
  const PlanTensor* video_first = find_frames(plan, "video_first");
  const PlanTensor* video = find_frames(plan, "video");
  const int x0 = plan.find("x0");
  if (!video_first || !video || x0 < 0 || plan.tensors[x0].shape.empty())
    fail(PENSTOCK_ERR_UNSUPPORTED, "this plan has no video phases: it was built without a decoder");
  const PlanTensor* frames_first = find_frames(plan, "frames_first");
  const PlanTensor* frames = find_frames(plan, "frames");
  encodes = frames_first && frames;
  if (encodes) {
    require_same_shape(frames_first, video_first);
    require_same_shape(frames, video);
  }
  first_frames = video_first->shape[0];
  next_frames = video->shape[0];
  delay = plan.tensors[x0].shape[0] - 1;
  height = video->shape[1];
  width = video->shape[2];
  frame_bytes = static_cast<size_t>(video->elements / next_frames);
  if (video_first->elements != first_frames * static_cast<int64_t>(frame_bytes))
    fail(PENSTOCK_ERR_UNSUPPORTED, "plan tensors 'video_first' and 'video': expected pictures of one size");
}

void Stream::require_open(const char* call) const {
  if (device_failed_) fail(PENSTOCK_ERR_DEVICE, call, ": the device failed (", failure_, "); the session cannot go on");
  if (!failure_.empty())
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, call, ": the stream stopped at an error (", failure_, "); reset the session");
  if (ended_) fail(PENSTOCK_ERR_INVALID_ARGUMENT, call, " after flush; reset the session to begin a new stream");
}

void Stream::stop_at(const std::exception& error) {
  failure_ = error.what();
  const auto* known = dynamic_cast<const Error*>(&error);
  device_failed_ = known && known->status() == PENSTOCK_ERR_DEVICE;
}

void Stream::require_frames(const char* call) const {
  require_open(call);
  if (!video_.encodes) fail(PENSTOCK_ERR_UNSUPPORTED, call, ": this plan takes no frames, it is text-to-video");
}

// Frame `index` of an input or output tensor.
DevicePlace Stream::device_frame(const char* tensor, int64_t index) const {
  DevicePlace place = session_.place_of(tensor);
  place.data += static_cast<size_t>(index) * video_.frame_bytes;
  return place;
}

std::shared_ptr<DeviceFrame> Stream::load_frame(const char* tensor, int64_t index) {
  auto frame = frames_on_device_.take(*session_.engine().backend(), video_.width, video_.height);
  const DevicePlace place = device_frame(tensor, index);
  frame->load(place.data, place.lane);
  return frame;
}

void Stream::store_frame(DeviceFrame& frame, const char* tensor, int64_t index) const {
  const DevicePlace place = device_frame(tensor, index);
  frame.store(place.data, place.lane);
}

void Stream::push(DeviceFrame& frame) {
  require_frames("push");
  if (!pending_.empty()) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "push: the frames of this chunk began on the host");
  store_frame(frame, input(), pending_on_device_);
  ++pending_on_device_;
  ++stats_.frames_in;
  if (pending_on_device_ < chunk_frames()) return;
  pending_on_device_ = 0;
  run_chunk(nullptr);
}

// Completes the last chunk with copies of its last frame.
void Stream::complete_on_device() {
  const auto last = load_frame(input(), pending_on_device_ - 1);
  for (; pending_on_device_ < chunk_frames(); ++pending_on_device_) store_frame(*last, input(), pending_on_device_);
  pending_on_device_ = 0;
  run_chunk(nullptr);
}

void Stream::push(const uint8_t* frames, int64_t count) {
  require_frames("push");
  if (pending_on_device_) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "push: the frames of this chunk began on the device");
  if (count < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "push: expected 0 or more frames, got ", count);
  pending_.insert(pending_.end(), frames, frames + static_cast<size_t>(count) * video_.frame_bytes);
  stats_.frames_in += static_cast<uint64_t>(count);
  run_pending();
}

void Stream::run_pending() {
  size_t used = 0;
  for (;;) {
    const size_t size = static_cast<size_t>(chunk_frames()) * video_.frame_bytes;
    if (pending_.size() - used < size) break;
    run_chunk(pending_.data() + used);
    used += size;
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(used));
}

void Stream::generate(int64_t chunks) {
  require_open("generate");
  if (video_.encodes) fail(PENSTOCK_ERR_UNSUPPORTED, "generate: this plan is video-to-video, push frames instead");
  if (chunks < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "generate: expected 0 or more chunks, got ", chunks);
  for (int64_t i = 0; i < chunks; ++i) run_chunk(nullptr);
}

// Without `frames` they are in the input tensor already.
void Stream::run_chunk(const uint8_t* frames) try {
  const bool first = stats_.chunks == 0;
  if (video_.encodes) {
    const size_t size = static_cast<size_t>(chunk_frames()) * video_.frame_bytes;
    if (frames) session_.write(first ? "frames_first" : "frames", frames, size);
    session_.run(first ? "encode_first" : "encode");
  }
  if (first) {
    session_.run("denoise_first");
    decode("decode_first", "video_first", video_.first_frames);
  } else {
    denoise();
  }
  ++stats_.chunks;
} catch (const std::exception& error) {
  stop_at(error);
  throw;
}

// One denoise call; from the call on that fills the stream batch, each finishes a chunk.
void Stream::denoise() {
  if (unfilled_ > 0) {  // this call brings the first chunk of a new configuration to slot calls_
    if (calls_ > 0) session_.restore_slot(calls_);
    if (calls_ + 1 >= unfilled_) {
      session_.forget_earlier_caches();
      unfilled_ = 0;
    }
  }
  session_.run("denoise");
  if (++calls_ > video_.delay) decode("decode", "video", video_.next_frames);
}

void Stream::decode(const char* phase, const char* output, int64_t frames) {
  session_.run(phase);
  if (on_device_) return deliver_on_device(output, frames);
  const size_t bytes = static_cast<size_t>(frames) * video_.frame_bytes;
  if (!session_.overlaps()) {
    std::vector<uint8_t> video(bytes);
    session_.read(output, video.data(), video.size());
    deliver(video);
    return;
  }
  const bool reuse = !spare_.empty() && bytes == video_.chunk_bytes();
  Awaited awaited{reuse ? std::move(spare_.back()) : session_.make_download(bytes), bytes};
  if (reuse) spare_.pop_back();
  session_.start_download(output, bytes, *awaited.download);
  awaited_.push_back(std::move(awaited));
  collect(kBehind);
}

// Frames that are finished, in order; waits until at most so many chunks are on their way.
void Stream::collect(size_t most_awaited) {
  while (awaited_.size() > most_awaited) {
    Awaited first = std::move(awaited_.front());
    awaited_.pop_front();
    std::vector<uint8_t> video(first.bytes);
    first.download->finish(video.data());
    if (first.bytes == video_.chunk_bytes()) spare_.push_back(std::move(first.download));
    deliver(video);
  }
}

// Nothing waits: the frames are in order behind the phase, whatever the schedule.
void Stream::deliver_on_device(const char* output, int64_t frames) {
  for (int64_t i = 0; i < frames && !is_made_up(); ++i) {
    ready_on_device_.push_back(load_frame(output, i));
    ++stats_.frames_out;
  }
}

void Stream::deliver(const std::vector<uint8_t>& video) {
  for (size_t at = 0; at < video.size() && !is_made_up(); at += video_.frame_bytes) {
    const auto begin = video.begin() + static_cast<std::ptrdiff_t>(at);
    ++stats_.frames_out;
    ready_.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(video_.frame_bytes));
  }
}

void Stream::flush() {
  if (ended_) return;
  require_open("flush");
  if (pending_on_device_) complete_on_device();
  if (!pending_.empty()) {
    const std::vector<uint8_t> last(pending_.end() - static_cast<std::ptrdiff_t>(video_.frame_bytes), pending_.end());
    while (pending_.size() < static_cast<size_t>(chunk_frames()) * video_.frame_bytes)
      pending_.insert(pending_.end(), last.begin(), last.end());
    run_pending();
  }
  empty_stream_batch();
  ended_ = true;
}

// The calls that finish the chunks in flight; what they put into the first slots is made up.
void Stream::empty_stream_batch() try {
  for (int64_t i = 0; i < video_.delay && calls_ > 0; ++i) denoise();
  collect(0);
} catch (const std::exception& error) {
  stop_at(error);
  throw;
}

// After the last chunk in flight, the last slot's caches hold every chunk, each as it was in its last step; the others
// have run ahead on made-up chunks. Without a stream batch, the cache of every step is complete. The chunk counter ran
// ahead too, so it is set to the last chunk that was pushed.
void Stream::go_on_with(const std::shared_ptr<const Engine>& engine) {
  require_open("switch");
  if (engine.get() == &session_.engine()) return;
  std::shared_ptr<Configuration> next = session_.configuration_for(engine);
  const VideoPlan video(engine->plan());
  std::vector<std::shared_ptr<DeviceFrame>> waiting;  // for their chunk, which the new configuration makes
  for (int64_t i = 0; i < pending_on_device_; ++i) waiting.push_back(load_frame(input(), i));
  empty_stream_batch();
  const int64_t last_chunk = static_cast<int64_t>(stats_.chunks) - 1;
  try {
    session_.go_on_with(std::move(next), last_chunk >= 0, video_.delay == 0);
    if (last_chunk >= 0) session_.write("chunk", &last_chunk, sizeof last_chunk);
    for (int64_t i = 0; i < pending_on_device_; ++i) store_frame(*waiting[static_cast<size_t>(i)], input(), i);
  } catch (const std::exception& error) {
    stop_at(error);
    throw;
  }
  video_ = video;
  calls_ = 0;
  unfilled_ = last_chunk >= 0 ? video_.delay + 1 : 0;
}

int64_t Stream::pull(uint8_t* frames, int64_t most) {
  if (most < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "pull: expected room for 0 or more frames, got ", most);
  const int64_t count = std::min(most, available());
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(frames + static_cast<size_t>(i) * video_.frame_bytes, ready_.front().data(), video_.frame_bytes);
    ready_.pop_front();
  }
  return count;
}

std::shared_ptr<DeviceFrame> Stream::pull_device() {
  std::shared_ptr<DeviceFrame> frame = std::move(ready_on_device_.front());
  ready_on_device_.pop_front();
  return frame;
}

void Stream::reset() {
  stats_ = {};
  calls_ = 0;
  unfilled_ = 0;
  ended_ = false;
  failure_.clear();
  device_failed_ = false;
  pending_.clear();
  ready_.clear();
  awaited_.clear();
  pending_on_device_ = 0;
  ready_on_device_.clear();
}

}  // namespace penstock
