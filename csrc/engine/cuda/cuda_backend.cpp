#include "engine/cuda/cuda_backend.h"

#include <array>
#include <cstring>
#include <mutex>
#include <optional>

#include "engine/cuda/launch.h"
#include "engine/cuda/staging.h"
#include "engine/error.h"
#include "engine/picture.h"

namespace penstock::cuda {
namespace {

Address address_of(const void* device) { return reinterpret_cast<Address>(device); }

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

// A stream with what work in it needs for itself.
struct StreamLane {
  OwnedStream stream;
  std::unique_ptr<Staging> staging;
  Address workspace = 0;
};

// What programs outlive their backend object for: the context, the streams, the kernels.
struct DeviceState {
  explicit DeviceState(int number) : context(find_device(number)) {}
  ~DeviceState() {
    const Current current(context);
    for (StreamLane& lane : lanes) {
      if (lane.workspace) find_driver().cuMemFree_v2(lane.workspace);
      lane.staging.reset();
      lane.stream.reset();
    }
    blas.reset();
    kernels.reset();
  }

  // The members that need the context to be current.
  void open() {
    const Current current(context);
    kernels = std::make_unique<KernelLibrary>(context.architecture());
    blas = std::make_unique<BlasLt>();
    lane(0);
  }

  // Made at its first use.
  StreamLane& lane(int number) {
    StreamLane& lane = lanes[static_cast<size_t>(number)];
    if (!lane.stream) lane.stream = make_stream();
    if (!lane.staging) lane.staging = std::make_unique<Staging>(lane.stream.get());
    if (!lane.workspace) lane.workspace = allocate_memory(BlasLt::kWorkspaceBytes, "the workspace of matrix products");
    return lane;
  }
  Stream stream(int number) { return lane(number).stream.get(); }

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
    Graph handle = nullptr;
    PENSTOCK_CUDA(cuStreamBeginCapture_v2, stream, kCaptureRelaxed);
    try {
      for (const BoundOp& op : ops) op.definition->cuda(op.args, launcher);
    } catch (...) {
      find_driver().cuStreamEndCapture(stream, &handle);  // or the stream stays in capture for ever
      OwnedGraph unfinished(handle);
      throw;
    }
    PENSTOCK_CUDA(cuStreamEndCapture, stream, &handle);
    const OwnedGraph graph(handle);
    GraphExec exec = nullptr;
    PENSTOCK_CUDA(cuGraphInstantiateWithFlags, &exec, graph.get(), 0);
    exec_.reset(exec);
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

// Into pinned memory of its own.
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

  std::unique_ptr<Program> prepare(std::vector<BoundOp> ops, int lane) override {
    for (const BoundOp& op : ops)
      if (!op.definition->cuda)
        fail(PENSTOCK_ERR_UNSUPPORTED, "op ", op.definition->contract->name, " has no CUDA implementation");
    return std::make_unique<CudaProgram>(device_, ops, lane);
  }
  std::unique_ptr<Download> make_download(size_t bytes) override {
    return std::make_unique<CudaDownload>(device_, bytes);
  }

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

  std::shared_ptr<DeviceFrame> make_frame(int64_t width, int64_t height) override {
    return std::make_shared<CudaFrame>(device_, width, height);
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
