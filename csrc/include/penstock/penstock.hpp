// penstock.hpp: penstock.h for C++17: handles that free themselves, statuses as exceptions, views of memory. Header
// only. What each call does, and which threads may make it, stands in penstock.h.
#pragma once

#include <penstock/penstock.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace penstock {

// A status other than PENSTOCK_OK, with its message.
class Exception : public std::runtime_error {
 public:
  Exception(penstock_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  penstock_status status() const noexcept { return status_; }

 private:
  penstock_status status_;
};

inline void check(penstock_status status) {
  if (status != PENSTOCK_OK) throw Exception(status, penstock_last_error());
}

// The same for calls that may come to nothing: false for PENSTOCK_NOT_READY.
inline bool check_ready(penstock_status status) {
  if (status == PENSTOCK_NOT_READY) return false;
  check(status);
  return true;
}

// Memory that somebody else keeps: std::span, which C++17 does not have.
template <typename T>
class Span {
 public:
  Span() = default;
  Span(T* data, std::size_t size) : data_(data), size_(size) {}
  template <typename Container, typename = decltype(std::declval<Container&>().data())>
  Span(Container& container) : data_(container.data()), size_(container.size()) {}  // NOLINT: implicit, as std::span is

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }
  T& operator[](std::size_t index) const { return data_[index]; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

// Parameter structs with their defaults: make<penstock_engine_params>(penstock_engine_params_init).
template <typename Struct>
Struct make(void (*init)(Struct*)) {
  Struct value;
  init(&value);
  return value;
}
inline penstock_engine_params engine_params() { return make(penstock_engine_params_init); }
inline penstock_session_params session_params() { return make(penstock_session_params_init); }

// An RGB8 frame in host memory without gaps; set other fields for another format. `pixels` holds all of it.
inline penstock_frame rgb_frame(int width, int height, Span<std::uint8_t> pixels, std::int64_t timestamp = 0) {
  const std::size_t needed = std::size_t{3} * static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  if (width < 0 || height < 0 || pixels.size() < needed)
    throw Exception(PENSTOCK_ERR_INVALID_ARGUMENT,
                    "rgb_frame: expected " + std::to_string(needed) + " bytes, got " + std::to_string(pixels.size()));
  penstock_frame frame = make(penstock_frame_init);
  frame.width = width;
  frame.height = height;
  frame.planes[0] = pixels.data();
  frame.timestamp = timestamp;
  return frame;
}

class Engine {
 public:
  explicit Engine(const std::string& directory, const penstock_engine_params& params = engine_params()) {
    penstock_engine* engine = nullptr;
    check(penstock_engine_open(directory.c_str(), &params, &engine));
    handle_.reset(engine);
  }

  // From a plan's JSON text; its weights come by set_weight.
  static Engine from_plan(const std::string& json, const penstock_engine_params& params = engine_params()) {
    penstock_engine* engine = nullptr;
    check(penstock_engine_create(json.data(), json.size(), &params, &engine));
    return Engine(engine);
  }

  void set_weight(const std::string& name, const penstock_tensor& value) {
    check(penstock_engine_set_weight(get(), name.c_str(), &value));
  }
  penstock_tensor_info tensor_info(const std::string& name) const {
    penstock_tensor_info info{};
    info.struct_size = sizeof info;
    check(penstock_engine_tensor_info(get(), name.c_str(), &info));
    return info;
  }
  penstock_video_info video_info() const {
    penstock_video_info info = make(penstock_video_info_init);
    check(penstock_engine_video_info(get(), &info));
    return info;
  }
  std::uint64_t session_memory_required() const {
    std::uint64_t bytes = 0;
    check(penstock_session_memory_required(get(), &bytes));
    return bytes;
  }

  penstock_engine* get() const noexcept { return handle_.get(); }

 private:
  struct Free {
    void operator()(penstock_engine* engine) const noexcept { penstock_engine_free(engine); }
  };
  explicit Engine(penstock_engine* engine) : handle_(engine) {}

  std::unique_ptr<penstock_engine, Free> handle_;
};

// A finished frame where it lies. Given back in the order of the last stream that it was made complete for.
class Picture {
 public:
  Picture(penstock_picture* picture, const penstock_frame& frame)
      : handle_(picture, {frame.cuda_stream}), frame_(frame) {}

  const penstock_frame& frame() const noexcept { return frame_; }
  void order(void* cuda_stream) {
    check(penstock_picture_order(handle_.get(), cuda_stream));
    handle_.get_deleter().cuda_stream = cuda_stream;
  }

 private:
  struct Free {
    void operator()(penstock_picture* picture) const noexcept { penstock_picture_free(picture, cuda_stream); }
    void* cuda_stream = nullptr;
  };
  std::unique_ptr<penstock_picture, Free> handle_;
  penstock_frame frame_;
};

class Session {
 public:
  explicit Session(const Engine& engine, const penstock_session_params& params = session_params()) {
    penstock_session* session = nullptr;
    check(penstock_session_create(engine.get(), &params, &session));
    handle_.reset(session);
  }

  void reset() { check(penstock_session_reset(get())); }
  void cancel() { check(penstock_session_cancel(get())); }

  // Text embeddings float32 [rows, text_dim].
  void set_prompt(Span<const float> embeddings, std::int64_t rows) {
    if (rows < 1 || embeddings.size() % static_cast<std::size_t>(rows) != 0)
      throw Exception(PENSTOCK_ERR_INVALID_ARGUMENT, "set_prompt: expected whole rows of embeddings");
    penstock_tensor tensor{};
    tensor.struct_size = sizeof tensor;
    tensor.dtype = PENSTOCK_F32;
    tensor.ndim = 2;
    tensor.shape[0] = rows;
    tensor.shape[1] = static_cast<std::int64_t>(embeddings.size()) / rows;
    tensor.data = embeddings.data();
    check(penstock_session_set_prompt(get(), &tensor));
  }
  void set_prompt_file(const std::string& path) { check(penstock_session_set_prompt_file(get(), path.c_str())); }
  void set_noise_scale(float value) { check(penstock_session_set_noise_scale(get(), value)); }
  void set_timesteps(Span<const std::int32_t> timesteps) {
    check(penstock_session_set_timesteps(get(), timesteps.data(), timesteps.size()));
  }
  void set_seed(std::uint64_t seed) { check(penstock_session_set_seed(get(), seed)); }

  template <typename T>
  void write(const std::string& name, Span<const T> values) {
    check(penstock_session_write(get(), name.c_str(), values.data(), values.size() * sizeof(T)));
  }
  template <typename T>
  void read(const std::string& name, Span<T> values) {
    check(penstock_session_read(get(), name.c_str(), values.data(), values.size() * sizeof(T)));
  }
  void run(const std::string& phase) { check(penstock_session_run(get(), phase.c_str())); }

  void push(const penstock_frame& frame) { check(penstock_session_push(get(), &frame)); }
  void generate(std::int64_t chunks) { check(penstock_session_generate(get(), chunks)); }
  void flush() { check(penstock_session_flush(get())); }

  // False: the queue had no room within the time.
  bool submit(const penstock_frame& frame, std::int64_t timeout_ms = -1) {
    return check_ready(penstock_session_submit(get(), &frame, timeout_ms));
  }
  void submit_end() { check(penstock_session_submit_end(get())); }
  // Frames to pull; 0: the stream has ended; none: the time ran out.
  std::optional<std::int64_t> wait(std::int64_t timeout_ms = -1) {
    std::int64_t frames = 0;
    if (!check_ready(penstock_session_wait(get(), timeout_ms, &frames))) return std::nullopt;
    return frames;
  }
  std::int64_t poll() {
    std::int64_t frames = 0;
    check(penstock_session_poll(get(), &frames));
    return frames;
  }
  // False: there is no finished frame.
  bool pull(penstock_frame& frame) { return check_ready(penstock_session_pull(get(), &frame)); }
  // The next finished frame without a copy, complete in the order of this stream; none: there is no finished frame.
  std::optional<Picture> take(void* cuda_stream = nullptr) {
    penstock_picture* picture = nullptr;
    penstock_frame frame = make(penstock_frame_init);
    frame.cuda_stream = cuda_stream;
    if (!check_ready(penstock_session_take(get(), &frame, &picture))) return std::nullopt;
    return Picture(picture, frame);
  }

  penstock_session_stats stats() const {
    penstock_session_stats stats = make(penstock_session_stats_init);
    check(penstock_session_get_stats(get(), &stats));
    return stats;
  }
  penstock_phase_stats phase_stats(const std::string& phase) const {
    penstock_phase_stats stats = make(penstock_phase_stats_init);
    check(penstock_session_get_phase_stats(get(), phase.c_str(), &stats));
    return stats;
  }

  penstock_session* get() const noexcept { return handle_.get(); }

 private:
  struct Free {
    void operator()(penstock_session* session) const noexcept { penstock_session_free(session); }
  };
  std::unique_ptr<penstock_session, Free> handle_;
};

}  // namespace penstock
