// Stream: video frames in, video frames out, over one session. It cuts frames into chunks, runs the plan's phases in
// order, and knows how many chunks the stream batch holds back. Nothing of the device's step state is read back.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "engine/session.h"

namespace penstock {

struct StreamStats {
  uint64_t frames_in = 0;
  uint64_t frames_out = 0;  // finished, pulled or not
  uint64_t chunks = 0;      // run through the model, the first one included
};

// The video tensors of a plan: frames_first and frames (absent in text-to-video), video_first and video, u8
// [frames, height, width, 3], and x0 [slots, ...].
struct VideoPlan {
  explicit VideoPlan(const Plan& plan);  // throws PENSTOCK_ERR_UNSUPPORTED if the plan decodes no video

  bool encodes = false;
  int64_t first_frames = 0;  // of the first chunk
  int64_t next_frames = 0;   // of every later chunk
  int64_t delay = 0;         // chunks that the stream batch holds back
  int64_t height = 0;        // pixels
  int64_t width = 0;
  size_t frame_bytes = 0;
};

class Stream {
 public:
  explicit Stream(Session& session) : session_(session), video_(session.engine().plan()) {}

  // Takes `count` frames and runs every chunk that they complete.
  void push(const uint8_t* frames, int64_t count);

  // The same for one frame in device memory; the frames of a chunk lie all there, or all on the host.
  void push(DeviceFrame& frame);

  // From now on finished frames stay on the device, for pull_device.
  void keep_on_device() { on_device_ = true; }

  // Text-to-video: runs `chunks` chunks from noise.
  void generate(int64_t chunks);

  // Ends the stream: completes the last chunk with copies of its last frame and empties the stream batch, so that every
  // pushed frame has its frame out. After it only pull and reset are allowed.
  void flush();

  int64_t available() const { return static_cast<int64_t>(on_device_ ? ready_on_device_.size() : ready_.size()); }

  // Moves up to `most` finished frames to `frames`; returns how many.
  int64_t pull(uint8_t* frames, int64_t most);

  // The next finished frame, of which there must be one.
  std::shared_ptr<DeviceFrame> pull_device();

  // Forgets everything; the session is reset by its owner.
  void reset();

  const VideoPlan& video() const { return video_; }
  const StreamStats& stats() const { return stats_; }

 private:
  void require_open(const char* call) const;
  void require_frames(const char* call) const;
  void complete_on_device();
  uint8_t* device_frame(const char* tensor, int64_t index) const;
  void run_pending();
  void run_chunk(const uint8_t* frames);
  void denoise();
  void decode(const char* phase, const char* output, int64_t frames);
  int64_t chunk_frames() const { return stats_.chunks == 0 ? video_.first_frames : video_.next_frames; }

  Session& session_;
  VideoPlan video_;
  StreamStats stats_;
  int64_t calls_ = 0;  // runs of the phase denoise
  bool ended_ = false;
  std::string failure_;           // of the run that left the state between two chunks
  std::vector<uint8_t> pending_;  // frames of the chunk that is not complete yet
  std::deque<std::vector<uint8_t>> ready_;
  int64_t pending_on_device_ = 0;  // the same, in the input tensor already
  bool on_device_ = false;
  DeviceFramePool frames_on_device_;
  std::deque<std::shared_ptr<DeviceFrame>> ready_on_device_;
};

}  // namespace penstock
