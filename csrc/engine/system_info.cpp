#include "engine/system_info.h"

#include <dlfcn.h>

#include <cstdio>

#include "engine/cpu/matmul.h"
#include "engine/thread_pool.h"

namespace penstock {
namespace {

template <size_t N>
void copy_text(char (&target)[N], const char* text) {
  std::snprintf(target, N, "%s", text);
}

// Asks the CUDA driver through dlopen, so that the library loads on machines without one.
void query_cuda(penstock_system_info& info) {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!driver) return copy_text(info.cuda_problem, "no CUDA driver (libcuda.so.1 not found)");
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto version = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDriverGetVersion"));
  const auto count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  const auto name = reinterpret_cast<int (*)(char*, int, int)>(dlsym(driver, "cuDeviceGetName"));
  if (!init || !version || !count || !name)
    return copy_text(info.cuda_problem, "the CUDA driver lacks basic functions");
  version(&info.cuda_driver_version);
  const int status = init(0);
  if (status != 0) {
    std::snprintf(info.cuda_problem, sizeof info.cuda_problem, "cuInit failed with error %d", status);
    return;
  }
  if (count(&info.cuda_device_count) != 0 || info.cuda_device_count == 0)
    return copy_text(info.cuda_problem, "the CUDA driver reports no device");
  name(info.cuda_device_name, sizeof info.cuda_device_name, 0);
  copy_text(info.cuda_problem, "this build of penstock has no CUDA backend");
}

}  // namespace

penstock_system_info system_info() {
  penstock_system_info info{};
  info.struct_size = sizeof info;
  query_cuda(info);
  copy_text(info.blas, blas_name());
#if defined(__clang__)
  copy_text(info.compiler, "clang " __clang_version__);
#else
  copy_text(info.compiler, "g++ " __VERSION__);
#endif
  info.cpu_threads = default_thread_count();
  return info;
}

}  // namespace penstock
