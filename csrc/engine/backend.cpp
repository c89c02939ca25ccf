#include "engine/backend.h"

#include "engine/error.h"

namespace penstock {

void* HostAllocator::take(size_t bytes, const std::string& purpose) const {
  void* memory = allocate(bytes, kTensorAlignment, user);
  if (!memory) fail(PENSTOCK_ERR_OUT_OF_MEMORY, "the host's allocator refused ", bytes, " bytes for ", purpose);
  if (reinterpret_cast<uintptr_t>(memory) % kTensorAlignment == 0) return memory;
  give_back(memory, bytes);
  fail(PENSTOCK_ERR_INVALID_ARGUMENT, "the host's allocator: expected memory aligned to ", kTensorAlignment, " bytes");
}

void Backend::tune(const std::vector<BoundOp>&, const std::string&, const Log&) {}

void Backend::check_memory(const Picture&) { make_frame(0, 0); }

std::shared_ptr<DeviceFrame> Backend::make_frame(int64_t, int64_t) {
  fail(PENSTOCK_ERR_UNSUPPORTED, "CUDA frames need an engine on CUDA, this one is on ", name());
}

std::shared_ptr<DeviceFrame> DeviceFramePool::take(Backend& backend, int64_t width, int64_t height) {
  for (const std::shared_ptr<DeviceFrame>& frame : frames_)
    if (frame.use_count() == 1) return frame;
  return frames_.emplace_back(backend.make_frame(width, height));
}

}  // namespace penstock
