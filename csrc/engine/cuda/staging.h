// Pinned staging: copies between pageable host memory and the device that do not wait for earlier work.
#pragma once

#include <array>
#include <cstddef>

#include "engine/cuda/context.h"

namespace penstock::cuda {

// The context must be current in every call and in the destructor.
class Staging {
 public:
  explicit Staging(Stream stream) : stream_(stream) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // The host memory may be changed or freed as soon as this returns; the device has it in stream order.
  void upload(Address device, const void* host, size_t bytes);

  // Waits for the stream, since the caller gets the bytes.
  void download(void* host, Address device, size_t bytes);

 private:
  struct Buffer {
    void* memory = nullptr;
    OwnedEvent used;  // recorded behind the last copy out of it
  };
  Buffer& next();

  Stream stream_;
  std::array<Buffer, 2> buffers_;
  size_t turn_ = 0;
};

}  // namespace penstock::cuda
