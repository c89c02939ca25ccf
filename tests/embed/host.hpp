// What the C++ test hosts share: expectations, and frames of which each says which one it is.
#ifndef PENSTOCK_TESTS_HOST_HPP
#define PENSTOCK_TESTS_HOST_HPP

#include <cstdio>
#include <functional>
#include <penstock/penstock.hpp>
#include <string>
#include <vector>

inline int problems = 0;

inline void expect(bool condition, const std::string& what) {
  if (condition) return;
  std::printf("failed: %s\n", what.c_str());
  ++problems;
}

// That a call throws this status, with a message.
inline void expect_status(penstock_status status, const std::string& what, const std::function<void()>& call) {
  try {
    call();
    expect(status == PENSTOCK_OK, what + ": nothing was thrown");
  } catch (const penstock::Exception& error) {
    expect(error.status() == status && *error.what(),
           what + ": " + penstock_status_name(error.status()) + ": " + error.what());
  }
}

// RGB8 pictures of one size; frame i is filled with values that depend on i.
class Clip {
 public:
  explicit Clip(const penstock::Engine& engine) : info_(engine.video_info()), pixels_(bytes()) {}

  std::size_t bytes() const { return std::size_t{3} * static_cast<std::size_t>(info_.width * info_.height); }
  penstock_frame frame(std::int64_t index) {
    for (std::size_t i = 0; i < pixels_.size(); ++i) pixels_[i] = value(index, i);
    return penstock::rgb_frame(info_.width, info_.height, pixels_, index);
  }
  penstock_frame room() { return penstock::rgb_frame(info_.width, info_.height, pixels_); }
  const std::vector<std::uint8_t>& pixels() const { return pixels_; }

  // Whether the pixels are those of a frame, as an engine that gives back what it takes must say.
  bool holds(std::int64_t index) const {
    for (std::size_t i = 0; i < pixels_.size(); ++i)
      if (pixels_[i] != value(index, i)) return false;
    return true;
  }

 private:
  static std::uint8_t value(std::int64_t index, std::size_t i) {
    return static_cast<std::uint8_t>(static_cast<std::size_t>(index) * 37 + i * 11 + i / 48);
  }

  penstock_video_info info_;
  std::vector<std::uint8_t> pixels_;
};

inline penstock::Engine open_cpu(const char* directory, int threads = 1) {
  penstock_engine_params params = penstock::engine_params();
  params.device = PENSTOCK_DEVICE_CPU;
  params.threads = threads;
  return penstock::Engine(directory, params);
}

#endif
