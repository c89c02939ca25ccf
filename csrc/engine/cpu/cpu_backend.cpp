// The CPU backend: host memory, f32, ops one after the other, each over a thread pool.
#include <sys/mman.h>

#include <chrono>
#include <cstring>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/thread_pool.h"

namespace penstock {
namespace {

class CpuProgram : public Program {
 public:
  CpuProgram(std::vector<BoundOp> ops, ThreadPool& pool) : ops_(std::move(ops)), pool_(pool) {}

  void run() override {
    const auto begin = std::chrono::steady_clock::now();
    for (const BoundOp& op : ops_) op.definition->cpu(op.args, pool_);
    last_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  }
  bool is_graph() const override { return false; }
  std::optional<double> last_ms() override { return last_ms_; }

 private:
  std::vector<BoundOp> ops_;
  ThreadPool& pool_;
  double last_ms_ = 0.0;
};

class CpuDownload : public Download {
 public:
  explicit CpuDownload(size_t bytes) : bytes_(bytes) {}
  void start(const void* device, int) override { std::memcpy(bytes_.data(), device, bytes_.size()); }
  void finish(void* host) override { std::memcpy(host, bytes_.data(), bytes_.size()); }

 private:
  std::vector<char> bytes_;
};

// Every lane is the calling thread, so all is in order.
class CpuBackend : public Backend {
 public:
  explicit CpuBackend(int threads) : pool_(threads) {}

  const char* name() const override { return "cpu"; }
  DType compute_dtype() const override { return DType::kF32; }

  // Pages of an anonymous mapping are zero, and unused cache costs nothing until it is touched.
  void* allocate(size_t bytes, const std::string& purpose) override {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
      fail(PENSTOCK_ERR_OUT_OF_MEMORY, "device cpu: not enough memory for ", purpose, ": needs ", bytes, " bytes");
    return memory;
  }
  void release(void* memory, size_t bytes) noexcept override { munmap(memory, bytes); }

  void upload(void* device, const void* host, size_t bytes, int) override { std::memcpy(device, host, bytes); }
  void download(void* host, const void* device, size_t bytes, int) override { std::memcpy(host, device, bytes); }
  void copy(void* to, const void* from, size_t bytes, int) override { std::memcpy(to, from, bytes); }
  void clear(void* device, size_t bytes, int) override { std::memset(device, 0, bytes); }

  std::unique_ptr<Program> prepare(std::vector<BoundOp> ops, int) override {
    return std::make_unique<CpuProgram>(std::move(ops), pool_);
  }
  std::unique_ptr<Download> make_download(size_t bytes) override { return std::make_unique<CpuDownload>(bytes); }

  std::unique_ptr<Mark> make_mark() override { return std::make_unique<Mark>(); }
  void record(Mark&, int) override {}
  void wait(const Mark&, int) override {}
  void synchronize() override {}

 private:
  ThreadPool pool_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads) { return std::make_unique<CpuBackend>(threads); }

}  // namespace penstock
