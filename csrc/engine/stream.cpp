#include "engine/stream.h"

#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "engine/json.h"

namespace penstock {
namespace {

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
  if (!failure_.empty())
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, call, ": the stream stopped at an error (", failure_, "); reset the session");
  if (ended_) fail(PENSTOCK_ERR_INVALID_ARGUMENT, call, " after flush; reset the session to begin a new stream");
}

void Stream::require_frames(const char* call) const {
  require_open(call);
  if (!video_.encodes) fail(PENSTOCK_ERR_UNSUPPORTED, call, ": this plan takes no frames, it is text-to-video");
}

// Frame `index` of an input or output tensor; the first chunk has tensors of its own.
uint8_t* Stream::device_frame(const char* tensor, int64_t index) const {
  return static_cast<uint8_t*>(session_.memory_of(tensor)) + static_cast<size_t>(index) * video_.frame_bytes;
}

void Stream::push(DeviceFrame& frame) {
  require_frames("push");
  if (!pending_.empty()) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "push: the frames of this chunk began on the host");
  frame.store(device_frame(stats_.chunks == 0 ? "frames_first" : "frames", pending_on_device_));
  ++pending_on_device_;
  ++stats_.frames_in;
  if (pending_on_device_ < chunk_frames()) return;
  pending_on_device_ = 0;
  run_chunk(nullptr);
}

// Completes the last chunk with copies of its last frame.
void Stream::complete_on_device() {
  const char* tensor = stats_.chunks == 0 ? "frames_first" : "frames";
  const auto last = frames_on_device_.take(*session_.engine().backend(), video_.width, video_.height);
  last->load(device_frame(tensor, pending_on_device_ - 1));
  for (; pending_on_device_ < chunk_frames(); ++pending_on_device_)
    last->store(device_frame(tensor, pending_on_device_));
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
  failure_ = error.what();
  throw;
}

// One denoise call; from the call on that fills the stream batch, each finishes a chunk.
void Stream::denoise() {
  session_.run("denoise");
  if (++calls_ > video_.delay) decode("decode", "video", video_.next_frames);
}

void Stream::decode(const char* phase, const char* output, int64_t frames) {
  session_.run(phase);
  std::vector<uint8_t> video(on_device_ ? 0 : static_cast<size_t>(frames) * video_.frame_bytes);
  if (!on_device_) session_.read(output, video.data(), video.size());
  for (int64_t i = 0; i < frames; ++i) {
    // Frames that flush made up to complete the last chunk have no place in the output.
    if (video_.encodes && stats_.frames_out == stats_.frames_in) break;
    ++stats_.frames_out;
    if (on_device_) {
      ready_on_device_.push_back(frames_on_device_.take(*session_.engine().backend(), video_.width, video_.height));
      ready_on_device_.back()->load(device_frame(output, i));
      continue;
    }
    const auto begin = video.begin() + static_cast<std::ptrdiff_t>(i * static_cast<int64_t>(video_.frame_bytes));
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
  try {
    for (int64_t i = 0; i < video_.delay && calls_ > 0; ++i) denoise();
  } catch (const std::exception& error) {
    failure_ = error.what();
    throw;
  }
  ended_ = true;
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
  ended_ = false;
  failure_.clear();
  pending_.clear();
  ready_.clear();
  pending_on_device_ = 0;
  ready_on_device_.clear();
}

}  // namespace penstock
