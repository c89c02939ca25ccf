// A C++ host without Python: video from standard input, through an engine directory, to standard output.
//
//   ffmpeg -i in.mp4 -vf scale=832:480 -pix_fmt yuv420p -f yuv4mpegpipe - | cpp_host ENGINE | ffmpeg -i - out.mp4
//
// One thread reads and submits, the session's worker runs the model, this one pulls and writes. docs/embedding.md
#include <atomic>
#include <exception>
#include <iostream>
#include <thread>

#include "video_pipe.hpp"

namespace {

constexpr const char* kUsage =
    "usage: cpp_host ENGINE [--prompt prompt.safetensors] [--seed N] [--in y4m|rgb24] [--out y4m|rgb24]\n"
    "  ENGINE     a directory that `penstock build --prompt TEXT` wrote\n"
    "  --in       Y4M with 4:2:0 chroma (default), or rgb24 frames of the engine's size\n"
    "  --device   auto (default), cpu or cuda\n";

struct Options {
  std::string engine, prompt, seed, in = "y4m", out = "y4m", device = "auto";
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.rfind("--", 0) != 0 && options.engine.empty()) {
      options.engine = name;
      continue;
    }
    std::string* value = name == "--prompt"   ? &options.prompt
                         : name == "--seed"   ? &options.seed
                         : name == "--in"     ? &options.in
                         : name == "--out"    ? &options.out
                         : name == "--device" ? &options.device
                                              : nullptr;
    if (!value || i + 1 == argc) throw Fail("unknown argument " + name + "\n" + kUsage);
    *value = argv[++i];
  }
  if (options.engine.empty()) throw Fail(kUsage);
  for (const std::string& format : {options.in, options.out})
    if (format != "y4m" && format != "rgb24") throw Fail("expected y4m or rgb24, got " + format);
  return options;
}

penstock::Engine open(const Options& options) {
  penstock_engine_params params = penstock::engine_params();
  params.device = options.device == "cpu"    ? PENSTOCK_DEVICE_CPU
                  : options.device == "cuda" ? PENSTOCK_DEVICE_CUDA
                                             : PENSTOCK_DEVICE_AUTO;
  params.log = [](penstock_log_level level, const char* message, void*) {
    if (level != PENSTOCK_LOG_INFO) std::cerr << message << "\n";
  };
  return penstock::Engine(options.engine, params);
}

// What went wrong first, on either thread; the other one is stopped and reports that it was.
class FirstError {
 public:
  explicit FirstError(penstock::Session& session) : session_(session) {}
  void keep() {
    if (!is_set_.exchange(true)) error_ = std::current_exception();
    session_.cancel();  // the other thread may wait for frames, or for room
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  penstock::Session& session_;
  std::atomic<bool> is_set_{false};
  std::exception_ptr error_;
};

// Submits every frame of the input, and then the end.
void read_all(Reader& reader, penstock::Session& session, FirstError& error) try {
  std::vector<std::uint8_t> bytes;
  for (std::int64_t index = 0; reader.read(bytes); ++index) {
    penstock_frame frame = view(reader.format(), bytes);
    frame.timestamp = index;
    session.submit(frame);  // waits while the queue is full
  }
  session.submit_end();
} catch (...) {
  error.keep();
}

std::int64_t write_all(Writer& writer, penstock::Session& session, const Format& format, FirstError& error) try {
  std::vector<std::uint8_t> bytes(format.bytes());
  std::int64_t count = 0;
  while (*session.wait() > 0) {
    penstock_frame frame = view(format, bytes);
    if (!session.pull(frame)) continue;
    writer.write(bytes);
    ++count;
  }
  writer.close();
  return count;
} catch (...) {
  error.keep();
  return 0;
}

void run(const Options& options) {
  const penstock::Engine engine = open(options);
  const penstock_video_info info = engine.video_info();
  penstock::Session session(engine);
  if (!options.prompt.empty()) session.set_prompt_file(options.prompt);
  if (!options.seed.empty()) session.set_seed(std::stoull(options.seed));

  Format format;
  format.width = info.width;
  format.height = info.height;
  format.is_y4m = options.in == "y4m";
  Reader reader(stdin, format);
  format = reader.format();
  format.is_y4m = options.out == "y4m";
  Writer writer(stdout, format);

  FirstError error(session);
  std::thread thread([&] { read_all(reader, session, error); });
  const std::int64_t count = write_all(writer, session, format, error);
  thread.join();
  error.rethrow();
  std::cerr << count << " frames, latency of the last " << session.stats().last_latency_ms << " ms\n";
}

}  // namespace

int main(int argc, char** argv) try {
  run(parse(argc, argv));
  return 0;
} catch (const std::exception& error) {
  std::cerr << "cpp_host: " << error.what() << "\n";
  return 1;
}
