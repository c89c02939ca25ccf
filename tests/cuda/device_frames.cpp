// Frames in device memory over the mock driver, which checks every address and computes the conversions of pictures: in
// by push, out by pull, in every pixel format, with gaps behind their rows, on a stream of the host's, without a wait
// and without a copy to the host. What must come out is what the same pictures in host memory give.
//
// usage: device_frames ENGINE      (video-to-video, one step)
#include <cstring>
#include <random>

#include "mock_host.h"

extern "C" {
int cuCtxPushCurrent_v2(void*);
int cuCtxPopCurrent_v2(void**);
int cuMemAlloc_v2(unsigned long long*, std::size_t);
int cuMemFree_v2(unsigned long long);
int cuStreamCreate(void**, unsigned);
int cuStreamDestroy_v2(void*);
}

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t kPoison = 0xa5;

struct Layout {
  const char* name;
  penstock_pixel_format format;
  penstock_color color;
  bool bottom_up;
};
constexpr Layout kRgb{"RGB8", PENSTOCK_RGB8, PENSTOCK_BT709_LIMITED, false};
constexpr Layout kLayouts[] = {kRgb,
                               {"RGB8, bottom-up", PENSTOCK_RGB8, PENSTOCK_BT709_LIMITED, true},
                               {"RGBA8", PENSTOCK_RGBA8, PENSTOCK_BT709_LIMITED, false},
                               {"BGRA8, bottom-up", PENSTOCK_BGRA8, PENSTOCK_BT709_LIMITED, true},
                               {"NV12", PENSTOCK_NV12, PENSTOCK_BT709_LIMITED, false},
                               {"NV12 of another colour", PENSTOCK_NV12, PENSTOCK_BT601_FULL, false}};

struct Plane {
  std::size_t row, rows, gap;
  std::size_t stride() const { return row + gap; }
};
std::vector<Plane> planes_of(const penstock_video_info& info, penstock_pixel_format format) {
  const auto width = static_cast<std::size_t>(info.width), height = static_cast<std::size_t>(info.height);
  if (format == PENSTOCK_NV12) return {{width, height, 32}, {width, height / 2, 7}};
  return {{(format == PENSTOCK_RGB8 ? 3 : 4) * width, height, 32}};
}

penstock_frame frame_of(const penstock_video_info& info, const Layout& layout) {
  penstock_frame frame = penstock::make(penstock_frame_init);
  frame.width = info.width;
  frame.height = info.height;
  frame.format = layout.format;
  frame.color = layout.color;
  return frame;
}

// A picture in host memory, without gaps.
class HostPicture {
 public:
  HostPicture(const penstock_video_info& info, const Layout& layout) : frame_(frame_of(info, layout)) {
    for (const Plane& plane : planes_of(info, layout.format)) planes_.emplace_back(plane.row * plane.rows);
    for (std::size_t i = 0; i < planes_.size(); ++i) frame_.planes[i] = planes_[i].data();
  }
  void fill(std::mt19937& random) {
    for (Bytes& plane : planes_)
      for (std::uint8_t& byte : plane) byte = static_cast<std::uint8_t>(random());
  }
  penstock_frame& frame() { return frame_; }
  const Bytes& plane(std::size_t i) const { return planes_[i]; }

 private:
  penstock_frame frame_;
  std::vector<Bytes> planes_;
};

// A picture in "device" memory, which the mock keeps on the host: so its bytes can be set and compared.
class DevicePicture {
 public:
  DevicePicture(const penstock_video_info& info, const Layout& layout, void* stream)
      : planes_(planes_of(info, layout.format)), frame_(frame_of(info, layout)) {
    frame_.memory = PENSTOCK_MEMORY_CUDA;
    frame_.cuda_stream = stream;
    for (std::size_t i = 0; i < planes_.size(); ++i) {
      const std::size_t stride = planes_[i].stride(), top = layout.bottom_up ? (planes_[i].rows - 1) * stride : 0;
      unsigned long long address = 0;
      cuMemAlloc_v2(&address, stride * planes_[i].rows);
      memory_.push_back(reinterpret_cast<std::uint8_t*>(address));
      frame_.planes[i] = memory_[i] + top;
      frame_.strides[i] = layout.bottom_up ? -static_cast<std::int64_t>(stride) : static_cast<std::int64_t>(stride);
      std::memset(memory_[i], kPoison, stride * planes_[i].rows);
    }
  }
  ~DevicePicture() {
    for (std::uint8_t* memory : memory_) cuMemFree_v2(reinterpret_cast<unsigned long long>(memory));
  }
  DevicePicture(const DevicePicture&) = delete;
  DevicePicture& operator=(const DevicePicture&) = delete;

  void fill(const HostPicture& picture) {
    for (std::size_t i = 0; i < planes_.size(); ++i)
      for (std::size_t y = 0; y < planes_[i].rows; ++y)
        std::memcpy(row(i, y), picture.plane(i).data() + y * planes_[i].row, planes_[i].row);
  }
  // Rows of the picture, gaps of poison.
  bool holds(const HostPicture& picture) const {
    for (std::size_t i = 0; i < planes_.size(); ++i)
      for (std::size_t y = 0; y < planes_[i].rows; ++y) {
        if (std::memcmp(row(i, y), picture.plane(i).data() + y * planes_[i].row, planes_[i].row) != 0) return false;
        const std::uint8_t* end = memory_[i] + y * planes_[i].stride() + planes_[i].row;
        for (std::size_t x = 0; x < planes_[i].gap; ++x)
          if (end[x] != kPoison) return false;
      }
    return true;
  }
  penstock_frame& frame(std::int64_t timestamp = 0) {
    frame_.timestamp = timestamp;
    return frame_;
  }

 private:
  std::uint8_t* row(std::size_t plane, std::size_t y) const {
    return static_cast<std::uint8_t*>(frame_.planes[plane]) + static_cast<std::int64_t>(y) * frame_.strides[plane];
  }

  std::vector<Plane> planes_;
  std::vector<std::uint8_t*> memory_;
  penstock_frame frame_;
};

penstock::Session make_session(const penstock::Engine& engine, penstock_memory output) {
  penstock_session_params params = penstock::session_params();
  params.output_memory = output;
  return penstock::Session(engine, params);
}

Bytes read(penstock::Session& session, const char* tensor, std::size_t size) {
  Bytes bytes(size);
  session.read(tensor, penstock::Span<std::uint8_t>(bytes));
  return bytes;
}

// Every conversion is on the host's stream, behind the work before it and before what waits for it; nothing waits here.
void check_order(const std::string& log, void* stream, const std::string& what) {
  const std::string own = std::to_string(reinterpret_cast<std::uintptr_t>(stream));
  std::vector<std::string> calls;
  for (std::size_t at = 0, end; (end = log.find('\n', at)) != std::string::npos; at = end + 1)
    calls.push_back(log.substr(at, end - at));
  int conversions = 0;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    expect(calls[i].find("synchronize") == std::string::npos, what + ": the host waits");
    expect(calls[i].find("download") == std::string::npos, what + ": pixels go to the host");
    if (calls[i].rfind("[\"convert\"", 0) != 0) continue;
    ++conversions;
    const std::string event = calls[i - 1].substr(calls[i - 1].rfind(' '));
    expect(calls[i] == "[\"convert\", " + own + "]", what + ": on the host's stream");
    expect(calls[i - 1] == "[\"wait\", " + own + "," + event, what + ": behind the work before");
    expect(calls[i + 1] == "[\"record\", " + own + "," + event, what + ": before the work behind");
  }
  expect(conversions == 5, what + ": five conversions");
}

// Five frames in and five out, in one layout, beside the same in host memory.
void check_layout(const penstock::Engine& engine, const Layout& layout, void* stream) {
  const penstock_video_info info = engine.video_info();
  const std::string name = layout.name;
  const std::size_t chunk = 5 * 3 * static_cast<std::size_t>(info.width) * static_cast<std::size_t>(info.height);
  penstock::Session session = make_session(engine, PENSTOCK_MEMORY_CUDA),
                    reference = make_session(engine, PENSTOCK_MEMORY_HOST);
  std::mt19937 random(7);
  Bytes video(chunk);
  for (std::uint8_t& byte : video) byte = static_cast<std::uint8_t>(random());
  for (penstock::Session* each : {&session, &reference})  // no kernel of the model runs
    each->write("video_first", penstock::Span<const std::uint8_t>(video.data(), video.size()));

  HostPicture host(info, layout);
  DevicePicture picture(info, layout, stream);
  mock_log();
  std::string log;
  for (int i = 0; i < 5; ++i) {
    host.fill(random);
    picture.fill(host);
    session.push(picture.frame(10 + i));
    log += mock_log();
    reference.push(host.frame());
    mock_log();
  }
  check_order(log, stream, name + ", in");
  expect(read(session, "frames_first", chunk) == read(reference, "frames_first", chunk), name + ": pushed");

  mock_log();
  log.clear();
  for (int i = 0; i < 5; ++i) {
    penstock_frame& out = picture.frame();
    expect(session.pull(out) && out.timestamp == 10 + i, name + ": a frame with its timestamp");
    log += mock_log();
    expect(reference.pull(host.frame()) && picture.holds(host), name + ": pulled");
    mock_log();
  }
  check_order(log, stream, name + ", out");
}

void check_stream(const penstock::Engine& engine, void* stream) {
  const penstock_video_info info = engine.video_info();
  penstock::Session session = make_session(engine, PENSTOCK_MEMORY_CUDA);
  HostPicture host(info, kRgb);
  DevicePicture picture(info, kRgb, stream);
  std::mt19937 random(8);
  for (int i = 0; i < 6; ++i) {
    host.fill(random);
    picture.fill(host);
    session.push(picture.frame());
  }
  expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, "a chunk of both memories", [&] { session.push(host.frame()); });
  expect_status(PENSTOCK_ERR_UNSUPPORTED, "a pull to the host", [&] { session.pull(host.frame()); });
  session.flush();
  expect(session.poll() == 6, "six frames in, six frames out");
  const std::size_t frame = host.plane(0).size();
  const Bytes tensor = read(session, "frames", 4 * frame);
  for (std::size_t i = 0; i < 4; ++i)
    expect(std::memcmp(tensor.data() + i * frame, host.plane(0).data(), frame) == 0,
           "the last chunk is completed with its last frame");

  // Without a copy: in the order of the host's stream, and given back in that of another one.
  void* other = nullptr;
  cuStreamCreate(&other, 1);
  const std::string own = std::to_string(reinterpret_cast<std::uintptr_t>(stream)) + ",",
                    last = std::to_string(reinterpret_cast<std::uintptr_t>(other)) + ",";
  {
    mock_log();
    std::optional<penstock::Picture> picture = session.take(stream);
    expect(picture && picture->frame().memory == PENSTOCK_MEMORY_CUDA, "a picture on the device");
    expect(std::string(mock_log()).rfind("[\"wait\", " + own, 0) == 0, "complete for its stream");
    picture->order(other);
    expect(std::string(mock_log()).rfind("[\"wait\", " + last, 0) == 0, "and for another one");
  }
  const std::string log = mock_log();
  expect(log.find("[\"record\", " + last) != std::string::npos, "used again behind the last one: " + log);
  cuStreamDestroy_v2(other);

  session.reset();
  DevicePicture nv12(info, kLayouts[4], stream);
  for (int i = 0; i < 5; ++i) session.submit(i % 2 ? nv12.frame(i) : picture.frame(i));
  session.flush();
  expect(session.poll() == 5, "submitted ones, too, in different formats");
}

void check_misuse(const penstock::Engine& engine, void* stream) {
  penstock::Session session = make_session(engine, PENSTOCK_MEMORY_CUDA);
  const penstock_video_info info = engine.video_info();
  HostPicture host(info, kRgb);
  DevicePicture picture(info, kRgb, stream);
  for (int i = 0; i < 5; ++i) session.push(picture.frame());
  const auto refuse = [&](const std::string& what, const std::function<void(penstock_frame&)>& spoil) {
    penstock_frame frame = picture.frame();
    spoil(frame);
    for (const auto& call : {std::function<void()>([&] { session.push(frame); }), {[&] { session.pull(frame); }}})
      expect_status(PENSTOCK_ERR_INVALID_ARGUMENT, what, call);
  };
  refuse("host memory", [&](penstock_frame& frame) { frame.planes[0] = host.frame().planes[0]; });
  const std::int64_t far = std::int64_t{1} << 36;  // a row there is in no allocation
  refuse("rows beyond all memory", [&](penstock_frame& frame) { frame.strides[0] = far; });
  refuse("rows before all memory", [&](penstock_frame& frame) { frame.strides[0] = -far; });
  refuse("a second plane of the host", [&](penstock_frame& frame) {
    frame.format = PENSTOCK_NV12;
    frame.planes[1] = host.frame().planes[0];
  });
  setenv("MOCK_MEMORY_DEVICE", "1", 1);
  refuse("another device", [](penstock_frame&) {});
  unsetenv("MOCK_MEMORY_DEVICE");
  expect(session.poll() == 5, "and no frame is lost");
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
    const penstock::Engine engine(argv[1], params);
    for (const Layout& layout : kLayouts) check_layout(engine, layout, stream);
    check_stream(engine, stream);
    check_misuse(engine, stream);
  }
  cuStreamDestroy_v2(stream);
  return end_on_mock();
} catch (const std::exception& error) {
  std::printf("failed: %s\n", error.what());
  return 1;
}
