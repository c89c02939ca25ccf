// Backend: where tensors live and how ops run. One implementation per kind of device.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/log.h"
#include "engine/op.h"

namespace penstock {

constexpr size_t kTensorAlignment = 256;  // bytes

inline size_t align_up(size_t bytes) { return (bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment; }

struct BoundOp {
  const OpDefinition* definition;
  OpArgs args;
};

// Lanes of work on a device. Each runs in order; different ones run side by side but for what waits for a mark. Lane 0
// is the one for everything that has no other.
constexpr int kLanes = 3;

// A place in a lane, for other lanes to wait for.
class Mark {
 public:
  virtual ~Mark() = default;
};

// Bytes on their way from the device; the host asks for them later.
class Download {
 public:
  virtual ~Download() = default;
  virtual void start(const void* device, int lane) = 0;
  virtual void finish(void* host) = 0;  // waits for the bytes of the last start
};

// A phase made ready to run again and again; on CUDA a captured graph.
class Program {
 public:
  virtual ~Program() = default;
  virtual void run() = 0;  // in its lane; on a device it may return before the work is done
  virtual bool is_graph() const = 0;
  virtual std::optional<double> last_ms() = 0;  // time of the last run, if it is done; does not wait
};

// Memory of a tensor, and the lane in whose order it may be touched.
struct DevicePlace {
  char* data;
  int lane;
};

struct Picture;

// One RGB8 picture in device memory, between a host's stream and a lane. No call waits for the device; each is ordered
// behind the one before it.
class DeviceFrame {
 public:
  virtual ~DeviceFrame() = default;
  virtual void take(const Picture& source) = 0;  // in the order of the host's stream
  virtual void give(const Picture& target) = 0;
  virtual void load(const void* tensor, int lane) = 0;
  virtual void store(void* tensor, int lane) = 0;

  // Its memory, for a host to read: complete in the order of the host's stream. Giving it back orders what comes next
  // behind what stands in that stream.
  virtual void* lend(void* cuda_stream) = 0;
  virtual void take_back(void* cuda_stream) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual DType compute_dtype() const = 0;

  // Device memory, zeroed. Throws PENSTOCK_ERR_OUT_OF_MEMORY, which says how much was needed for `purpose`.
  virtual void* allocate(size_t bytes, const std::string& purpose) = 0;
  virtual void release(void* memory, size_t bytes) noexcept = 0;

  virtual void upload(void* device, const void* host, size_t bytes, int lane) = 0;
  virtual void download(void* host, const void* device, size_t bytes, int lane) = 0;
  virtual void copy(void* to, const void* from, size_t bytes, int lane) = 0;  // both on the device, apart
  virtual void clear(void* device, size_t bytes, int lane) = 0;

  // Chooses among the device's ways to do these ops, where it has several: as `directory` has it from before, or by
  // measuring, which is then kept there. Empty: of no directory. Only weights of the ops have data.
  virtual void tune(const std::vector<BoundOp>& ops, const std::string& directory, const Log& log);

  virtual std::unique_ptr<Program> prepare(std::vector<BoundOp> ops, int lane) = 0;
  virtual std::unique_ptr<Download> make_download(size_t bytes) = 0;

  // Of pictures in device memory: they throw PENSTOCK_ERR_UNSUPPORTED where the device's memory is the host's, and
  // check_memory PENSTOCK_ERR_INVALID_ARGUMENT unless the picture's planes lie in memory of this device.
  virtual void check_memory(const Picture& picture);
  virtual std::shared_ptr<DeviceFrame> make_frame(int64_t width, int64_t height);

  // Orders lanes: what `lane` does after `wait` comes after what stood in the marked lane at `record`.
  virtual std::unique_ptr<Mark> make_mark() = 0;
  virtual void record(Mark& mark, int lane) = 0;
  virtual void wait(const Mark& mark, int lane) = 0;
  virtual void synchronize() = 0;  // the host waits for all lanes
};

// A host's own device memory; without `allocate` the backend's.
struct HostAllocator {
  // Throws PENSTOCK_ERR_OUT_OF_MEMORY if the host refuses.
  void* take(size_t bytes, const std::string& purpose) const;
  void give_back(void* memory, size_t bytes) const noexcept { release(memory, bytes, user); }

  penstock_allocate_callback allocate = nullptr;
  penstock_release_callback release = nullptr;
  void* user = nullptr;
};

// `threads`: 0 for all cores that this process may use.
std::unique_ptr<Backend> make_cpu_backend(int threads, const HostAllocator& allocator = {});

// Frames to use again and again: one that nobody holds, or a new one.
class DeviceFramePool {
 public:
  std::shared_ptr<DeviceFrame> take(Backend& backend, int64_t width, int64_t height);

 private:
  std::vector<std::shared_ptr<DeviceFrame>> frames_;
};

// An allocation that frees itself.
class Memory {
 public:
  Memory() = default;
  Memory(std::shared_ptr<Backend> backend, size_t bytes, const std::string& purpose)
      : backend_(std::move(backend)), bytes_(bytes), data_(bytes ? backend_->allocate(bytes, purpose) : nullptr) {}
  ~Memory() {
    if (data_) backend_->release(data_, bytes_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  char* at(size_t offset) const { return static_cast<char*>(data_) + offset; }
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Backend> backend_;
  size_t bytes_ = 0;
  void* data_ = nullptr;
};

}  // namespace penstock
