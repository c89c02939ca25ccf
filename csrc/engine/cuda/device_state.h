// One device with what all its programs share: the context, the streams of its lanes, the kernels.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <string>

#include "engine/backend.h"
#include "engine/cuda/blas_lt.h"
#include "engine/cuda/context.h"
#include "engine/cuda/kernel_library.h"
#include "engine/cuda/staging.h"

namespace penstock::cuda {

inline Address address_of(const void* device) { return reinterpret_cast<Address>(device); }

// Device memory. Throws PENSTOCK_ERR_OUT_OF_MEMORY, which says how much was needed for `purpose`.
Address allocate_memory(size_t bytes, const std::string& purpose);

// A stream with what work in it needs for itself.
struct StreamLane {
  OwnedStream stream;
  std::unique_ptr<Staging> staging;
  Address workspace = 0;
};

// What programs outlive their backend object for: the context, the streams, the kernels.
struct DeviceState {
  explicit DeviceState(int number);  // throws PENSTOCK_ERR_UNSUPPORTED if there is none of that number
  ~DeviceState();
  DeviceState(const DeviceState&) = delete;
  DeviceState& operator=(const DeviceState&) = delete;

  void open();  // the members that need the context to be current

  StreamLane& lane(int number);  // made at its first use
  Stream stream(int number) { return lane(number).stream.get(); }

  const int number;
  PrimaryContext context;
  std::mutex mutex;  // sessions on several threads share the streams, the staging and the kernels
  std::array<StreamLane, kLanes> lanes;
  std::unique_ptr<KernelLibrary> kernels;
  std::unique_ptr<BlasLt> blas;
};

// One call at a time, with the context current: for what lets go of things, which works on a failed device too.
class Cleanup {
 public:
  explicit Cleanup(DeviceState& device) : lock_(device.mutex), current_(device.context) {}

 private:
  std::lock_guard<std::mutex> lock_;
  Current current_;
};

// The same for everything else.
class Call : Cleanup {
 public:
  explicit Call(DeviceState& device) : Cleanup(device) { refuse_failed_device(); }
};

}  // namespace penstock::cuda
