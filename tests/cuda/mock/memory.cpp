// Device and pinned memory, copies and fills: done at once, and only within allocations.
#include <cstdlib>
#include <cstring>

#include "mock.h"

using namespace mock;

MOCK int cuMemGetInfo_v2(size_t* available, size_t* total) {
  *available = size_t{1} << 30;
  *total = size_t{2} << 30;
  return kSuccess;
}
MOCK int cuMemAlloc_v2(unsigned long long* address, size_t bytes) {
  LOCK;
  if (const int result = needs_context("cuMemAlloc")) return result;
  size_t used = bytes;
  for (const auto& [memory, size] : state().device) used += size;
  if (used > static_cast<size_t>(setting("MOCK_MEMORY_MIB", 1 << 20)) << 20) return kOutOfMemory;
  void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  state().device[memory] = bytes;
  record("allocate", memory, bytes);
  *address = reinterpret_cast<unsigned long long>(memory);
  return kSuccess;
}
MOCK int cuMemFree_v2(unsigned long long address) {
  LOCK;
  needs_context("cuMemFree");
  void* memory = reinterpret_cast<void*>(address);
  if (!state().device.erase(memory)) return problem("memory is freed that is not allocated");
  std::free(memory);
  return kSuccess;
}
MOCK int cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  LOCK;
  if (const int result = needs_context("cuMemHostAlloc")) return result;
  *memory = std::malloc(bytes);
  state().handles.insert(*memory);
  return kSuccess;
}
MOCK int cuMemFreeHost(void* memory) {
  LOCK;
  return destroy_handle("cuMemFreeHost", memory);
}
MOCK int cuMemcpyHtoDAsync_v2(unsigned long long device, const void* host, size_t bytes, void* stream) {
  LOCK;
  if (!on_device(device, bytes)) return problem("an upload beyond an allocation");
  std::memcpy(reinterpret_cast<void*>(device), host, bytes);
  record("upload", stream, device, bytes);
  return needs_context("cuMemcpyHtoDAsync");
}
MOCK int cuMemcpyDtoHAsync_v2(void* host, unsigned long long device, size_t bytes, void* stream) {
  LOCK;
  if (!on_device(device, bytes)) return problem("a download beyond an allocation");
  std::memcpy(host, reinterpret_cast<const void*>(device), bytes);
  record("download", stream, device, bytes);
  return needs_context("cuMemcpyDtoHAsync");
}
MOCK int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void* stream) {
  LOCK;
  if (!on_device(to, bytes) || !on_device(from, bytes)) return problem("a copy beyond an allocation");
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  record("copy", stream, to, from, bytes);
  return needs_context("cuMemcpyDtoDAsync");
}
// CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
MOCK int cuPointerGetAttribute(void* ordinal, int attribute, unsigned long long address) {
  LOCK;
  if (attribute != 9) return problem("an attribute of pointers that nobody should ask for");
  if (!on_device(address, 1)) return kInvalidValue;
  *static_cast<int*>(ordinal) = setting("MOCK_MEMORY_DEVICE", 0);
  return needs_context("cuPointerGetAttribute");
}
MOCK int cuMemsetD8Async(unsigned long long device, unsigned char value, size_t bytes, void* stream) {
  LOCK;
  if (!on_device(device, bytes)) return problem("a memset beyond an allocation");
  std::memset(reinterpret_cast<void*>(device), value, bytes);
  record("upload", stream, device, bytes);
  return needs_context("cuMemsetD8Async");
}
