#include "engine/cuda/context.h"

namespace penstock::cuda {

PrimaryContext::PrimaryContext(Device device) : device_(device) {
  int major = 0, minor = 0;
  PENSTOCK_CUDA(cuDeviceGetAttribute, &major, DeviceAttribute::kComputeMajor, device);
  PENSTOCK_CUDA(cuDeviceGetAttribute, &minor, DeviceAttribute::kComputeMinor, device);
  architecture_ = 10 * major + minor;
  PENSTOCK_CUDA(cuDeviceGetAttribute, &multiprocessors_, DeviceAttribute::kMultiprocessors, device);
  PENSTOCK_CUDA(cuDevicePrimaryCtxRetain, &handle_, device);
}

std::string PrimaryContext::name() const {
  char text[256] = {};
  PENSTOCK_CUDA(cuDeviceGetName, text, static_cast<int>(sizeof text) - 1, device_);
  return text;
}

PrimaryContext::~PrimaryContext() { find_driver().cuDevicePrimaryCtxRelease_v2(device_); }

OwnedEvent make_event() {
  Event event = nullptr;
  PENSTOCK_CUDA(cuEventCreate, &event, 0);
  return OwnedEvent(event);
}

}  // namespace penstock::cuda
