#include "engine/cuda/transfers.h"

#include <cstring>

#include "engine/picture.h"

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
  void finish(void* host) override {
    const Call call(*device_);
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
      : device_(std::move(device)), row_(static_cast<size_t>(3 * width)), rows_(static_cast<size_t>(height)) {
    const Call call(*device_);
    moved_ = make_event();
    memory_ = allocate_memory(row_ * rows_, "a frame");
  }
  ~CudaFrame() override {
    const Cleanup call(*device_);
    if (memory_) find_driver().cuMemFree_v2(memory_);
    moved_.reset();
  }

  void take(const Picture& source) override {
    move(static_cast<Stream>(source.cuda_stream), [&](Stream stream) {
      const Copy2d copy{side(address_of(source.planes[0]), static_cast<size_t>(source.strides[0])), side(memory_, row_),
                        row_, rows_};
      PENSTOCK_CUDA(cuMemcpy2DAsync_v2, &copy, stream);
    });
  }
  void give(const Picture& target) override {
    move(static_cast<Stream>(target.cuda_stream), [&](Stream stream) {
      const Copy2d copy{side(memory_, row_), side(address_of(target.planes[0]), static_cast<size_t>(target.strides[0])),
                        row_, rows_};
      PENSTOCK_CUDA(cuMemcpy2DAsync_v2, &copy, stream);
    });
  }
  void load(const void* tensor, int lane) override {
    move(stream_of(lane), [&](Stream stream) {
      PENSTOCK_CUDA(cuMemcpyDtoDAsync_v2, memory_, address_of(tensor), row_ * rows_, stream);
    });
  }
  void store(void* tensor, int lane) override {
    move(stream_of(lane), [&](Stream stream) {
      PENSTOCK_CUDA(cuMemcpyDtoDAsync_v2, address_of(tensor), memory_, row_ * rows_, stream);
    });
  }

 private:
  // A copy on `stream`, behind the one before it, on whatever stream that was.
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
  static Copy2dSide side(Address memory, size_t pitch) {
    Copy2dSide side;
    side.device = memory;
    side.pitch = pitch;
    return side;
  }

  std::shared_ptr<DeviceState> device_;
  size_t row_, rows_;  // bytes of a row
  Address memory_ = 0;
  OwnedEvent moved_;
};

}  // namespace

std::unique_ptr<Download> make_download(std::shared_ptr<DeviceState> device, size_t bytes) {
  return std::make_unique<CudaDownload>(std::move(device), bytes);
}

std::shared_ptr<DeviceFrame> make_frame(std::shared_ptr<DeviceState> device, int64_t width, int64_t height) {
  return std::make_shared<CudaFrame>(std::move(device), width, height);
}

}  // namespace penstock::cuda
