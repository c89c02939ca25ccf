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

}  // namespace penstock
