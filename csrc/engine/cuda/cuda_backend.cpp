#include "engine/cuda/cuda_backend.h"

#include <optional>

#include "engine/cuda/graph.h"
#include "engine/cuda/launch.h"
#include "engine/cuda/product_tuning.h"
#include "engine/cuda/transfers.h"
#include "engine/error.h"

namespace penstock::cuda {
namespace {

class CudaProgram : public Program {
 public:
  CudaProgram(std::shared_ptr<DeviceState> device, const std::vector<BoundOp>& ops, int lane)
      : device_(std::move(device)), lane_(lane) {
    const Call call(*device_);
    begin_ = make_event();
    end_ = make_event();
    capture(ops);
  }
  ~CudaProgram() override {
    const Cleanup call(*device_);
    exec_.reset();
    begin_.reset();
    end_.reset();
  }

  void run() override {
    const Call call(*device_);
    const Stream stream = device_->stream(lane_);
    PENSTOCK_CUDA(cuEventRecord, begin_.get(), stream);
    PENSTOCK_CUDA(cuGraphLaunch, exec_.get(), stream);
    PENSTOCK_CUDA(cuEventRecord, end_.get(), stream);
  }
  bool is_graph() const override { return true; }

  std::optional<double> last_ms() override {
    const Call call(*device_);
    float ms = 0.0f;
    const Result result = find_driver().cuEventElapsedTime(&ms, begin_.get(), end_.get());
    if (result == kNotReady) return std::nullopt;
    check(result, "cuEventElapsedTime");
    return ms;
  }

 private:
  void capture(const std::vector<BoundOp>& ops) {
    StreamLane& lane = device_->lane(lane_);
    const Stream stream = lane.stream.get();
    Launcher launcher(*device_->kernels, *device_->blas, stream, reinterpret_cast<void*>(lane.workspace),
                      BlasLt::kWorkspaceBytes, device_->context.multiprocessors());
    exec_ = instantiate(capture_graph(stream, [&] {
      for (const BoundOp& op : ops) op.definition->cuda(op.args, launcher);
    }));
  }

  std::shared_ptr<DeviceState> device_;
  int lane_;
  OwnedEvent begin_, end_;
  OwnedGraphExec exec_;
};

class CudaMark : public Mark {
 public:
  explicit CudaMark(std::shared_ptr<DeviceState> device) : device_(std::move(device)) {
    const Call call(*device_);
    event_ = make_event();
  }
  ~CudaMark() override {
    const Cleanup call(*device_);
    event_.reset();
  }
  Event event() const { return event_.get(); }

 private:
  std::shared_ptr<DeviceState> device_;
  OwnedEvent event_;
};

class CudaBackend : public Backend {
 public:
  CudaBackend(int number, const HostAllocator& allocator)
      : device_(std::make_shared<DeviceState>(number)), allocator_(allocator) {
    device_->open();
  }

  const char* name() const override { return "cuda"; }
  DType compute_dtype() const override { return DType::kBF16; }

  void* allocate(size_t bytes, const std::string& purpose) override {
    const Call call(*device_);
    const Address memory =
        allocator_.allocate ? address_of(allocator_.take(bytes, purpose)) : allocate_memory(bytes, purpose);
    PENSTOCK_CUDA(cuMemsetD8Async, memory, 0, bytes, device_->stream(0));
    return reinterpret_cast<void*>(memory);
  }

  void release(void* memory, size_t bytes) noexcept override {
    const Cleanup call(*device_);
    if (allocator_.allocate) return allocator_.give_back(memory, bytes);
    find_driver().cuMemFree_v2(address_of(memory));
  }

  void upload(void* device, const void* host, size_t bytes, int lane) override {
    const Call call(*device_);
    device_->lane(lane).staging->upload(address_of(device), host, bytes);
  }
  void download(void* host, const void* device, size_t bytes, int lane) override {
    const Call call(*device_);
    device_->lane(lane).staging->download(host, address_of(device), bytes);
  }
  void copy(void* to, const void* from, size_t bytes, int lane) override {
    const Call call(*device_);
    PENSTOCK_CUDA(cuMemcpyDtoDAsync_v2, address_of(to), address_of(from), bytes, device_->stream(lane));
  }
  void clear(void* device, size_t bytes, int lane) override {
    const Call call(*device_);
    PENSTOCK_CUDA(cuMemsetD8Async, address_of(device), 0, bytes, device_->stream(lane));
  }

  void tune(const std::vector<BoundOp>& ops, const std::string& directory, const Log& log) override {
    tune_products(*device_, ops, directory, log);
  }
  std::unique_ptr<Program> prepare(std::vector<BoundOp> ops, int lane) override {
    for (const BoundOp& op : ops)
      if (!op.definition->cuda)
        fail(PENSTOCK_ERR_UNSUPPORTED, "op ", op.definition->contract->name, " has no CUDA implementation");
    return std::make_unique<CudaProgram>(device_, ops, lane);
  }
  std::unique_ptr<Download> make_download(size_t bytes) override { return cuda::make_download(device_, bytes); }

  std::unique_ptr<Mark> make_mark() override { return std::make_unique<CudaMark>(device_); }
  void record(Mark& mark, int lane) override {
    const Call call(*device_);
    PENSTOCK_CUDA(cuEventRecord, static_cast<const CudaMark&>(mark).event(), device_->stream(lane));
  }
  void wait(const Mark& mark, int lane) override {
    const Call call(*device_);
    PENSTOCK_CUDA(cuStreamWaitEvent, device_->stream(lane), static_cast<const CudaMark&>(mark).event(), 0);
  }
  void synchronize() override {
    const Call call(*device_);
    for (const StreamLane& lane : device_->lanes)
      if (lane.stream) PENSTOCK_CUDA(cuStreamSynchronize, lane.stream.get());
  }

  void check_memory(const Picture& picture) override { cuda::check_memory(*device_, picture); }
  std::shared_ptr<DeviceFrame> make_frame(int64_t width, int64_t height) override {
    return cuda::make_frame(device_, width, height);
  }

 private:
  std::shared_ptr<DeviceState> device_;
  HostAllocator allocator_;
};

}  // namespace
}  // namespace penstock::cuda

namespace penstock {

std::shared_ptr<Backend> make_cuda_backend(int device, const HostAllocator& allocator) {
  cuda::require_driver();
  return std::make_shared<cuda::CudaBackend>(device, allocator);
}

}  // namespace penstock
