#include "engine/system_info.h"

#include <algorithm>
#include <cstdio>

#include "engine/cpu/matmul.h"
#include "engine/cuda/driver.h"
#include "engine/cuda/kernel_library.h"
#include "engine/thread_pool.h"

namespace penstock {
namespace {

template <size_t N>
void copy_text(char (&target)[N], const char* text) {
  std::snprintf(target, N, "%s", text);
}

void query_cuda(penstock_system_info& info) {
  const cuda::Driver& driver = cuda::find_driver();
  const auto& kernels = cuda::embedded_kernels();
  info.has_cuda_backend = !kernels.empty();
  info.has_cuda_sources =
      std::any_of(kernels.begin(), kernels.end(), [](const cuda::Kernel& k) { return !k.is_triton; });
  info.cuda_driver_version = driver.version;
  if (!driver.problem.empty()) return copy_text(info.cuda_problem, driver.problem.c_str());
  cuda::Device device = 0;
  driver.cuDeviceGetCount(&info.cuda_device_count);
  if (driver.cuDeviceGet(&device, 0) == cuda::kSuccess)
    driver.cuDeviceGetName(info.cuda_device_name, sizeof info.cuda_device_name, device);
  size_t bytes = 0;
  if (*info.cuda_device_name && driver.cuDeviceTotalMem_v2(&bytes, device) == cuda::kSuccess)
    info.cuda_memory_bytes = bytes;
  if (!info.has_cuda_backend) copy_text(info.cuda_problem, "this build of penstock has no CUDA kernels");
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
