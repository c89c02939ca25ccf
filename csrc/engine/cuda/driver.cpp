#include "engine/cuda/driver.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <mutex>

#include "engine/error.h"

namespace penstock::cuda {
namespace {

template <typename Pointer>
bool resolve(void* library, const char* name, Pointer& target) {
  target = reinterpret_cast<Pointer>(dlsym(library, name));
  return target != nullptr;
}

std::string load(Driver& driver) {
  const char* chosen = std::getenv("PENSTOCK_CUDA_DRIVER");
  const char* path = chosen && *chosen ? chosen : "libcuda.so.1";
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return cat("no CUDA driver (", path, " not found)");
#define PENSTOCK_RESOLVE(name, arguments) \
  if (!resolve(library, #name, driver.name)) return "the CUDA driver is too old: it lacks " #name;
  PENSTOCK_CUDA_FUNCTIONS(PENSTOCK_RESOLVE)
#undef PENSTOCK_RESOLVE
  resolve(library, "cuTensorMapEncodeTiled", driver.cuTensorMapEncodeTiled);
  driver.cuDriverGetVersion(&driver.version);
  if (const Result result = driver.cuInit(0); result != kSuccess) return cat("cuInit failed with error ", result);
  int devices = 0;
  if (driver.cuDeviceGetCount(&devices) != kSuccess || devices == 0) return "the CUDA driver reports no device";
  return "";
}

// The first failure that no context survives, of any thread.
class ContextFailure {
 public:
  void set(const std::string& message) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (message_.empty()) message_ = message;
  }
  std::string get() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return message_;
  }

 private:
  std::mutex mutex_;
  std::string message_;
};

ContextFailure& context_failure() {
  static ContextFailure failure;
  return failure;
}

}  // namespace

const Driver& find_driver() {
  static const Driver driver = [] {
    Driver found;
    found.problem = load(found);
    return found;
  }();
  return driver;
}

const Driver& require_driver() {
  const Driver& driver = find_driver();
  if (!driver.problem.empty()) fail(PENSTOCK_ERR_UNSUPPORTED, "device cuda: ", driver.problem);
  return driver;
}

void check(Result result, const char* call) {
  if (result == kSuccess) return;
  const char* text = nullptr;
  find_driver().cuGetErrorString(result, &text);
  const penstock_status status = result == kOutOfMemory ? PENSTOCK_ERR_OUT_OF_MEMORY : PENSTOCK_ERR_DEVICE;
  const std::string message = cat("CUDA: ", call, " failed: ", text ? text : "unknown error", " (", result, ")");
  if (std::find(std::begin(kContextFailures), std::end(kContextFailures), result) != std::end(kContextFailures))
    context_failure().set(message);
  throw Error(status, message);
}

void refuse_failed_device() {
  const std::string message = context_failure().get();
  if (!message.empty())
    fail(PENSTOCK_ERR_DEVICE, "device cuda failed earlier (", message,
         "); free its sessions and engines, and start the process again");
}

}  // namespace penstock::cuda
