// Stream: video frames in, video frames out, over one session. It cuts frames into chunks, runs the plan's phases in
// order, and knows how many chunks the stream batch holds back. Nothing of the device's step state is read back.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
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

  size_t chunk_bytes() const { return static_cast<size_t>(next_frames) * frame_bytes; }
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

  // Goes on with another configuration: chunks in the stream batch are finished first, the next chunk is the first one
  // of the new configuration.
  void go_on_with(const std::shared_ptr<const Engine>& engine);

  // Forgets everything; the session is reset by its owner.
  void reset();

  const VideoPlan& video() const { return video_; }
  const StreamStats& stats() const { return stats_; }

 private:
  void require_open(const char* call) const;
  void stop_at(const std::exception& error);
  void require_frames(const char* call) const;
  void complete_on_device();
  DevicePlace device_frame(const char* tensor, int64_t index) const;
  std::shared_ptr<DeviceFrame> load_frame(const char* tensor, int64_t index);
  void store_frame(DeviceFrame& frame, const char* tensor, int64_t index) const;
  void run_pending();
  void run_chunk(const uint8_t* frames);
  void denoise();
  void empty_stream_batch();
  void decode(const char* phase, const char* output, int64_t frames);
  void collect(size_t most_awaited);
  void deliver(const std::vector<uint8_t>& video);
  void deliver_on_device(const char* output, int64_t frames);
  // Frames that flush made up to complete the last chunk have no place in the output.
  bool is_made_up() const { return video_.encodes && stats_.frames_out == stats_.frames_in; }
  const char* input() const { return stats_.chunks == 0 ? "frames_first" : "frames"; }
  int64_t chunk_frames() const { return stats_.chunks == 0 ? video_.first_frames : video_.next_frames; }

  Session& session_;
  VideoPlan video_;
  StreamStats stats_;
  int64_t calls_ = 0;     // runs of the phase denoise in this configuration
  int64_t unfilled_ = 0;  // slots of the stream batch whose caches are still to be restored
  bool ended_ = false;
  std::string failure_;           // of the run that left the state between two chunks
  bool device_failed_ = false;    // and no reset can help
  std::vector<uint8_t> pending_;  // frames of the chunk that is not complete yet
  std::deque<std::vector<uint8_t>> ready_;

  // Under the schedule throughput: decoded chunks whose frames are on their way.
  struct Awaited {
    std::unique_ptr<Download> download;
    size_t bytes;
  };
  std::deque<Awaited> awaited_;
  std::vector<std::unique_ptr<Download>> spare_;  // of the tensor "video"

  int64_t pending_on_device_ = 0;  // frames of the incomplete chunk that are in the input tensor already
  bool on_device_ = false;
  DeviceFramePool frames_on_device_;
  std::deque<std::shared_ptr<DeviceFrame>> ready_on_device_;
};

}  // namespace penstock
