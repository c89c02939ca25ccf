#include "engine/cuda/transfers.h"

#include <cstring>

#include "engine/cuda/picture_kernels.h"
#include "engine/error.h"

namespace penstock::cuda {
namespace {

class CudaDownload : public Download {
 public:
  CudaDownload(std::shared_ptr<DeviceState> device, size_t bytes) : device_(std::move(device)), bytes_(bytes) {
    const Call call(*device_);
    arrived_ = make_event();
    PENSTOCK_CUDA(cuMemHostAlloc, &memory_, bytes_, 0);
  }
  ~CudaDownload() override {
    const Cleanup call(*device_);
    find_driver().cuEventSynchronize(arrived_.get());  // or the device would write to memory that is no more
    find_driver().cuMemFreeHost(memory_);
    arrived_.reset();
  }

  void start(const void* device, int lane) override {
    const Call call(*device_);
    const Stream stream = device_->stream(lane);
    PENSTOCK_CUDA(cuMemcpyDtoHAsync_v2, memory_, address_of(device), bytes_, stream);
    PENSTOCK_CUDA(cuEventRecord, arrived_.get(), stream);
  }
  // Without the device's lock, which other sessions' calls need meanwhile.
  void finish(void* host) override {
    refuse_failed_device();
    const Current current(device_->context);
    PENSTOCK_CUDA(cuEventSynchronize, arrived_.get());
    std::memcpy(host, memory_, bytes_);
  }

 private:
  std::shared_ptr<DeviceState> device_;
  size_t bytes_;
  void* memory_ = nullptr;
  OwnedEvent arrived_;
};

class CudaFrame : public DeviceFrame {
 public:
  CudaFrame(std::shared_ptr<DeviceState> device, int64_t width, int64_t height)
      : device_(std::move(device)), bytes_(static_cast<size_t>(3 * width * height)) {
    const Call call(*device_);
    moved_ = make_event();
    memory_ = allocate_memory(bytes_, "a frame");
  }
  ~CudaFrame() override {
    const Cleanup call(*device_);
    if (memory_) find_driver().cuMemFree_v2(memory_);
    moved_.reset();
  }

  void take(const Picture& source) override {
    move(static_cast<Stream>(source.cuda_stream), [&](Stream) { convert_to_rgb(*device_->kernels, source, memory_); });
  }
  void give(const Picture& target) override {
    move(static_cast<Stream>(target.cuda_stream),
         [&](Stream) { convert_from_rgb(*device_->kernels, memory_, target); });
  }
  void load(const void* tensor, int lane) override {
    move(stream_of(lane),
         [&](Stream stream) { PENSTOCK_CUDA(cuMemcpyDtoDAsync_v2, memory_, address_of(tensor), bytes_, stream); });
  }
  void store(void* tensor, int lane) override {
    move(stream_of(lane),
         [&](Stream stream) { PENSTOCK_CUDA(cuMemcpyDtoDAsync_v2, address_of(tensor), memory_, bytes_, stream); });
  }

  void* lend(void* cuda_stream) override {
    const Call call(*device_);
    PENSTOCK_CUDA(cuStreamWaitEvent, static_cast<Stream>(cuda_stream), moved_.get(), 0);
    return reinterpret_cast<void*>(memory_);
  }
  void take_back(void* cuda_stream) override {
    move(static_cast<Stream>(cuda_stream), [](Stream) {});
  }

 private:
  // Work on `stream`, behind the work before it, on whatever stream that was.
  template <typename Enqueue>
  void move(Stream stream, Enqueue enqueue) {
    const Call call(*device_);
    PENSTOCK_CUDA(cuStreamWaitEvent, stream, moved_.get(), 0);
    enqueue(stream);
    PENSTOCK_CUDA(cuEventRecord, moved_.get(), stream);
  }
  Stream stream_of(int lane) {
    const Call call(*device_);
    return device_->stream(lane);
  }

  std::shared_ptr<DeviceState> device_;
  size_t bytes_;
  Address memory_ = 0;
  OwnedEvent moved_;
};

}  // namespace

std::unique_ptr<Download> make_download(std::shared_ptr<DeviceState> device, size_t bytes) {
  return std::make_unique<CudaDownload>(std::move(device), bytes);
}

void check_memory(DeviceState& device, const Picture& picture) {
  const Call call(device);
  for (int i = 0; i < plane_count(picture.format); ++i) {
    const auto [first, last] = plane_range(picture, i);
    for (const uint8_t* byte : {first, last}) {
      int number = 0;
      if (find_driver().cuPointerGetAttribute(&number, PointerAttribute::kDeviceOrdinal, address_of(byte)) != kSuccess)
        fail(PENSTOCK_ERR_INVALID_ARGUMENT, "frame: planes[", i, "]: expected memory of device cuda:", device.number,
             " for all of its rows, got memory of no CUDA device");
      if (number != device.number)
        fail(PENSTOCK_ERR_INVALID_ARGUMENT, "frame: planes[", i, "]: expected memory of device cuda:", device.number,
             ", got memory of cuda:", number);
    }
  }
}

std::shared_ptr<DeviceFrame> make_frame(std::shared_ptr<DeviceState> device, int64_t width, int64_t height) {
  return std::make_shared<CudaFrame>(std::move(device), width, height);
}

}  // namespace penstock::cuda
