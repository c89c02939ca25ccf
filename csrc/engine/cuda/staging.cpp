#include "engine/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace penstock::cuda {
namespace {

constexpr size_t kBufferBytes = size_t{16} << 20;  // more than a chunk of frames at 480 x 832

}  // namespace

Staging::~Staging() {
  for (const Buffer& buffer : buffers_)
    if (buffer.memory) find_driver().cuMemFreeHost(buffer.memory);
}

// A buffer that no copy reads any more. With two of them in turn there is nothing to wait for in a steady stream.
Staging::Buffer& Staging::next() {
  Buffer& buffer = buffers_[turn_++ % buffers_.size()];
  if (!buffer.memory) {
    buffer.used = make_event();
    PENSTOCK_CUDA(cuMemHostAlloc, &buffer.memory, kBufferBytes, 0);
  } else if (find_driver().cuEventQuery(buffer.used.get()) != kSuccess) {
    PENSTOCK_CUDA(cuEventSynchronize, buffer.used.get());
  }
  return buffer;
}

void Staging::upload(Address device, const void* host, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kBufferBytes) {
    const size_t part = std::min(kBufferBytes, bytes - at);
    Buffer& buffer = next();
    std::memcpy(buffer.memory, static_cast<const char*>(host) + at, part);
    PENSTOCK_CUDA(cuMemcpyHtoDAsync_v2, device + at, buffer.memory, part, stream_);
    PENSTOCK_CUDA(cuEventRecord, buffer.used.get(), stream_);
  }
}

void Staging::download(void* host, Address device, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kBufferBytes) {
    const size_t part = std::min(kBufferBytes, bytes - at);
    Buffer& buffer = next();
    PENSTOCK_CUDA(cuMemcpyDtoHAsync_v2, buffer.memory, device + at, part, stream_);
    PENSTOCK_CUDA(cuStreamSynchronize, stream_);
    std::memcpy(static_cast<char*>(host) + at, buffer.memory, part);
  }
}

}  // namespace penstock::cuda
