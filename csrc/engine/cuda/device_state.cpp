#include "engine/cuda/device_state.h"

#include "engine/error.h"

namespace penstock::cuda {
namespace {

Device find_device(int number) {
  int count = 0;
  PENSTOCK_CUDA(cuDeviceGetCount, &count);
  if (number < 0 || number >= count)
    fail(PENSTOCK_ERR_UNSUPPORTED, "device cuda:", number, ": the driver reports ", count, " devices");
  Device device = 0;
  PENSTOCK_CUDA(cuDeviceGet, &device, number);
  return device;
}

OwnedStream make_stream() {
  Stream stream = nullptr;
  PENSTOCK_CUDA(cuStreamCreate, &stream, kStreamNonBlocking);
  return OwnedStream(stream);
}

}  // namespace

Address allocate_memory(size_t bytes, const std::string& purpose) {
  Address memory = 0;
  const Result result = find_driver().cuMemAlloc_v2(&memory, bytes);
  if (result == kOutOfMemory) {
    size_t available = 0, total = 0;
    PENSTOCK_CUDA(cuMemGetInfo_v2, &available, &total);
    fail(PENSTOCK_ERR_OUT_OF_MEMORY, "device cuda: not enough memory for ", purpose, ": needs ", bytes, " bytes, ",
         available, " of ", total, " are free");
  }
  check(result, "cuMemAlloc");
  return memory;
}

DeviceState::DeviceState(int which) : number(which), context(find_device(which)) {}

DeviceState::~DeviceState() {
  const Current current(context);
  for (StreamLane& lane : lanes) {
    if (lane.workspace) find_driver().cuMemFree_v2(lane.workspace);
    lane.staging.reset();
    lane.stream.reset();
  }
  blas.reset();
  kernels.reset();
}

void DeviceState::open() {
  const Current current(context);
  kernels = std::make_unique<KernelLibrary>(context.architecture());
  blas = std::make_unique<BlasLt>();
  lane(0);
}

StreamLane& DeviceState::lane(int number) {
  StreamLane& lane = lanes[static_cast<size_t>(number)];
  if (!lane.stream) lane.stream = make_stream();
  if (!lane.staging) lane.staging = std::make_unique<Staging>(lane.stream.get());
  if (!lane.workspace) lane.workspace = allocate_memory(BlasLt::kWorkspaceBytes, "the workspace of matrix products");
  return lane;
}

}  // namespace penstock::cuda
