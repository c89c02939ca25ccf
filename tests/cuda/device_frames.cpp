// Frames in device memory over the mock driver, which checks every address: in by push, out by pull, with gaps behind
// their rows, on a stream of the host's, without a wait and without a copy to the host.
//
// usage: device_frames ENGINE      (video-to-video, one step)
#include <cstring>

#include "../embed/host.hpp"

extern "C" {
int cuCtxPushCurrent_v2(void*);
int cuCtxPopCurrent_v2(void**);
int cuMemAlloc_v2(unsigned long long*, std::size_t);
int cuMemFree_v2(unsigned long long);
int cuStreamCreate(void**, unsigned);
int cuStreamDestroy_v2(void*);
std::int64_t mock_count(const char*);
}

namespace {

constexpr std::size_t kGap = 32;

// A picture in "device" memory, which the mock keeps on the host: so its bytes can be set and compared.
class DevicePicture {
 public:
  DevicePicture(const penstock_video_info& info, void* stream)
      : row_(3 * static_cast<std::size_t>(info.width)), rows_(static_cast<std::size_t>(info.height)) {
    unsigned long long address = 0;
    cuMemAlloc_v2(&address, (row_ + kGap) * rows_);
    memory_ = reinterpret_cast<unsigned char*>(address);
    penstock_frame_init(&frame_);
    frame_.memory = PENSTOCK_MEMORY_CUDA;
    frame_.width = info.width;
    frame_.height = info.height;
    frame_.planes[0] = memory_;
    frame_.strides[0] = static_cast<std::int64_t>(row_ + kGap);
    frame_.cuda_stream = stream;
  }
  ~DevicePicture() { cuMemFree_v2(reinterpret_cast<unsigned long long>(memory_)); }

  penstock_frame& fill(int value) {
    std::memset(memory_, value, (row_ + kGap) * rows_);
    frame_.timestamp = value;
    return frame_;
  }
  // Rows of `value`, gaps of `gap`.
  bool holds(int value, int gap) const {
    for (std::size_t i = 0; i < (row_ + kGap) * rows_; ++i)
      if (memory_[i] != (i % (row_ + kGap) < row_ ? value : gap)) return false;
    return true;
  }
  std::size_t bytes() const { return row_ * rows_; }

 private:
  std::size_t row_, rows_;
  unsigned char* memory_ = nullptr;
  penstock_frame frame_;
};

bool all(const std::uint8_t* bytes, std::size_t size, int value) {
  for (std::size_t i = 0; i < size; ++i)
    if (bytes[i] != value) return false;
  return true;
}

void check(const penstock::Engine& engine, void* stream) {
  const penstock_video_info info = engine.video_info();
  penstock_session_params params = penstock::session_params();
  params.output_memory = PENSTOCK_MEMORY_CUDA;
  penstock::Session session(engine, params);
  DevicePicture picture(info, stream);
  const std::size_t frame = picture.bytes();
  std::vector<std::uint8_t> tensor(5 * frame);
  for (std::size_t i = 0; i < 5; ++i) std::memset(tensor.data() + i * frame, static_cast<int>(100 + i), frame);
  session.write("video_first", penstock::Span<const std::uint8_t>(tensor.data(), tensor.size()));  // no kernel runs

  const std::int64_t waits = mock_count("cuStreamSynchronize"), downloads = mock_count("cuMemcpyDtoHAsync");
  for (int i = 0; i < 5; ++i) session.push(picture.fill(10 + i));
  for (int i = 0; i < 5; ++i) {
    penstock_frame& out = picture.fill(200);
    expect(session.pull(out) && out.timestamp == 10 + i, "a frame with its timestamp");
    expect(picture.holds(100 + i, 200), "a pulled frame is its row of the video tensor");
  }
  expect(mock_count("cuStreamSynchronize") == waits && mock_count("cuMemcpyDtoHAsync") == downloads, "nothing waits");
  session.read("frames_first", penstock::Span<std::uint8_t>(tensor));
  for (std::size_t i = 0; i < 5; ++i)
    expect(all(tensor.data() + i * frame, frame, static_cast<int>(10 + i)), "a pushed frame is in its place");

  session.push(picture.fill(70));
  Clip clip(engine);
  penstock_frame host = clip.frame(0);
  expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "a chunk of both memories", [&] { session.push(host); });
  expect_status(PENSTOCK_ERR_UNSUPPORTED, "a pull to the host", [&] { session.pull(host); });
  session.flush();
  expect(session.poll() == 1, "one frame in, one frame out");
  tensor.resize(4 * frame);
  session.read("frames", penstock::Span<std::uint8_t>(tensor));
  expect(all(tensor.data(), tensor.size(), 70), "the last chunk is completed with its last frame");

  session.reset();
  for (int i = 0; i < 5; ++i) session.submit(picture.fill(i));
  session.flush();
  expect(session.poll() == 5, "submitted ones, too");
  penstock_frame wrong = picture.fill(0);
  wrong.format = PENSTOCK_RGBA8;
  wrong.strides[0] = 0;
  expect_status(PENSTOCK_ERR_UNSUPPORTED, "another format", [&] { session.pull(wrong); });
  wrong = picture.fill(0);
  wrong.strides[0] = -wrong.strides[0];
  expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "bottom-up", [&] { session.pull(wrong); });
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  cuCtxPushCurrent_v2(nullptr);
  void* stream = nullptr;
  cuStreamCreate(&stream, 1);
  {
    penstock_engine_params params = penstock::engine_params();
    params.device = PENSTOCK_DEVICE_CUDA;
    check(penstock::Engine(argv[1], params), stream);
  }
  cuStreamDestroy_v2(stream);
  expect(mock_count("live handles") == 0 && mock_count("live allocations") == 0, "nothing is left");
  expect(mock_count("problems") == 0, "the driver found no fault");
  return problems != 0;
} catch (const std::exception& error) {
  std::printf("failed: %s\n", error.what());
  return 1;
}
