// The driver, its devices and contexts.
#include <cstdio>

#include "mock.h"

using namespace mock;

MOCK int cuInit(unsigned) { return setting("MOCK_INIT", kSuccess); }
MOCK int cuDriverGetVersion(int* version) { return *version = 13000, kSuccess; }
MOCK int cuGetErrorString(int result, const char** text) {
  *text = result == kOutOfMemory ? "out of memory" : "mock error";
  return kSuccess;
}
MOCK int cuDeviceGetCount(int* devices) { return *devices = setting("MOCK_DEVICES", 1), kSuccess; }
MOCK int cuDeviceGet(int* device, int number) { return *device = number, kSuccess; }
MOCK int cuDeviceGetName(char* name, int size, int) { return std::snprintf(name, size, "Mock GPU"), kSuccess; }
MOCK int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = size_t{2} << 30, kSuccess; }
MOCK int cuDeviceGetAttribute(int* value, int attribute, int) {
  const int architecture = setting("MOCK_ARCHITECTURE", 90);
  if (attribute == 16) return *value = setting("MOCK_MULTIPROCESSORS", 132), kSuccess;
  *value = attribute == 75 ? architecture / 10 : architecture % 10;
  return kSuccess;
}
MOCK int cuDevicePrimaryCtxRetain(void** context, int) {
  LOCK;
  static int primary;
  *context = &primary;
  return count("cuDevicePrimaryCtxRetain");
}
MOCK int cuDevicePrimaryCtxRelease_v2(int) {
  LOCK;
  return count("cuDevicePrimaryCtxRelease");
}
MOCK int cuCtxPushCurrent_v2(void*) {
  LOCK;
  ++state().contexts;
  return kSuccess;
}
MOCK int cuCtxPopCurrent_v2(void** context) {
  LOCK;
  --state().contexts;
  return *context = nullptr, kSuccess;
}
