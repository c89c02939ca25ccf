// Backend: where tensors live and how ops run. One implementation per kind of device.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

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

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual DType compute_dtype() const = 0;

  // Device memory, zeroed. Throws PENSTOCK_ERR_OUT_OF_MEMORY.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* memory, size_t bytes) noexcept = 0;

  virtual void upload(void* device, const void* host, size_t bytes, int lane) = 0;
  virtual void download(void* host, const void* device, size_t bytes, int lane) = 0;
  virtual void copy(void* to, const void* from, size_t bytes, int lane) = 0;  // both on the device, apart
  virtual void clear(void* device, size_t bytes, int lane) = 0;

  virtual std::unique_ptr<Program> prepare(std::vector<BoundOp> ops, int lane) = 0;
  virtual std::unique_ptr<Download> make_download(size_t bytes) = 0;

  // Orders lanes: what `lane` does after `wait` comes after what stood in the marked lane at `record`.
  virtual std::unique_ptr<Mark> make_mark() = 0;
  virtual void record(Mark& mark, int lane) = 0;
  virtual void wait(const Mark& mark, int lane) = 0;
  virtual void synchronize() = 0;  // the host waits for all lanes
};

// A host's own device memory; without `allocate` the backend's.
struct HostAllocator {
  // Throws PENSTOCK_ERR_OUT_OF_MEMORY if the host refuses.
  void* take(size_t bytes) const;
  void give_back(void* memory, size_t bytes) const noexcept { release(memory, bytes, user); }

  penstock_allocate_callback allocate = nullptr;
  penstock_release_callback release = nullptr;
  void* user = nullptr;
};

// `threads`: 0 for all cores that this process may use.
std::unique_ptr<Backend> make_cpu_backend(int threads, const HostAllocator& allocator = {});

// An allocation that frees itself.
class Memory {
 public:
  Memory() = default;
  Memory(std::shared_ptr<Backend> backend, size_t bytes)
      : backend_(std::move(backend)), bytes_(bytes), data_(bytes ? backend_->allocate(bytes) : nullptr) {}
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
