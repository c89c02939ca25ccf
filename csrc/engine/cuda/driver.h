// The CUDA driver, found at run time: the library neither links libcuda nor needs its headers, and loads without it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ptx/tensor_map.h"

namespace penstock::cuda {

// The driver's own types and constants (tests/cuda/driver_header.cpp compares them); handles are opaque pointers.
using Result = int;  // CUresult
using Device = int;
using Address = unsigned long long;  // CUdeviceptr
using Context = struct ContextHandle*;
using Stream = struct StreamHandle*;
using Event = struct EventHandle*;
using Module = struct ModuleHandle*;
using Function = struct FunctionHandle*;
using Graph = struct GraphHandle*;
using GraphExec = struct GraphExecHandle*;

constexpr Result kSuccess = 0;
constexpr Result kOutOfMemory = 2;
constexpr Result kNotReady = 600;

// Results that leave a context of no use: uncorrectable memory and link errors, and kernels that went wrong (illegal
// address, timeout, assertion, illegal instruction and the like). Every later call gives them again.
constexpr Result kContextFailures[] = {214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719};

enum class DeviceAttribute : int { kMultiprocessors = 16, kComputeMajor = 75, kComputeMinor = 76 };
enum class FunctionAttribute : int { kMaxDynamicShared = 8 };
enum class PointerAttribute : int { kDeviceOrdinal = 9 };
constexpr unsigned kStreamNonBlocking = 1;

constexpr int kCaptureRelaxed = 2;  // kernels are loaded and workspaces allocated while a phase is captured

// Of tensor maps: bf16, in rows of 128 or 64 bytes whose 16-byte pieces are permuted; what is outside reads as zeros.
constexpr int kTensorBFloat16 = 9, kInterleaveNone = 0, kSwizzle64 = 2, kSwizzle128 = 3, kPromoteTo256 = 3;
constexpr int kOutsideZero = 0;

// Every function that penstock calls. The names with a suffix are how the driver exports what cuda.h calls without it.
#define PENSTOCK_CUDA_FUNCTIONS(X)                                        \
  X(cuInit, (unsigned))                                                   \
  X(cuDriverGetVersion, (int*))                                           \
  X(cuGetErrorString, (Result, const char**))                             \
  X(cuDeviceGetCount, (int*))                                             \
  X(cuDeviceGet, (Device*, int))                                          \
  X(cuDeviceGetName, (char*, int, Device))                                \
  X(cuDeviceTotalMem_v2, (size_t*, Device))                               \
  X(cuDeviceGetAttribute, (int*, DeviceAttribute, Device))                \
  X(cuDevicePrimaryCtxRetain, (Context*, Device))                         \
  X(cuDevicePrimaryCtxRelease_v2, (Device))                               \
  X(cuCtxPushCurrent_v2, (Context))                                       \
  X(cuCtxPopCurrent_v2, (Context*))                                       \
  X(cuMemGetInfo_v2, (size_t*, size_t*))                                  \
  X(cuMemAlloc_v2, (Address*, size_t))                                    \
  X(cuMemFree_v2, (Address))                                              \
  X(cuMemHostAlloc, (void**, size_t, unsigned))                           \
  X(cuMemFreeHost, (void*))                                               \
  X(cuMemcpyHtoDAsync_v2, (Address, const void*, size_t, Stream))         \
  X(cuMemcpyDtoHAsync_v2, (void*, Address, size_t, Stream))               \
  X(cuMemcpyDtoDAsync_v2, (Address, Address, size_t, Stream))             \
  X(cuPointerGetAttribute, (void*, PointerAttribute, Address))            \
  X(cuMemsetD8Async, (Address, unsigned char, size_t, Stream))            \
  X(cuStreamCreate, (Stream*, unsigned))                                  \
  X(cuStreamDestroy_v2, (Stream))                                         \
  X(cuStreamSynchronize, (Stream))                                        \
  X(cuStreamWaitEvent, (Stream, Event, unsigned))                         \
  X(cuStreamBeginCapture_v2, (Stream, int))                               \
  X(cuStreamEndCapture, (Stream, Graph*))                                 \
  X(cuGraphInstantiateWithFlags, (GraphExec*, Graph, unsigned long long)) \
  X(cuGraphLaunch, (GraphExec, Stream))                                   \
  X(cuGraphExecDestroy, (GraphExec))                                      \
  X(cuGraphDestroy, (Graph))                                              \
  X(cuEventCreate, (Event*, unsigned))                                    \
  X(cuEventDestroy_v2, (Event))                                           \
  X(cuEventRecord, (Event, Stream))                                       \
  X(cuEventQuery, (Event))                                                \
  X(cuEventSynchronize, (Event))                                          \
  X(cuEventElapsedTime, (float*, Event, Event))                           \
  X(cuModuleLoadData, (Module*, const void*))                             \
  X(cuModuleUnload, (Module))                                             \
  X(cuModuleGetFunction, (Function*, Module, const char*))                \
  X(cuFuncSetAttribute, (Function, FunctionAttribute, int))               \
  X(cuLaunchKernel,                                                       \
    (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void**, void**))

struct Driver {
#define PENSTOCK_DECLARE(name, arguments) Result(*name) arguments = nullptr;
  PENSTOCK_CUDA_FUNCTIONS(PENSTOCK_DECLARE)
#undef PENSTOCK_DECLARE
  // Null in drivers before 12.0, which have no Hopper to drive.
  Result (*cuTensorMapEncodeTiled)(TensorMap* map, int type, unsigned rank, void* address, const uint64_t* size,
                                   const uint64_t* stride, const uint32_t* box, const uint32_t* step, int interleave,
                                   int swizzle, int promotion, int outside) = nullptr;

  int version = 0;      // for instance 13000; 0 without a driver
  std::string problem;  // why CUDA cannot be used; empty if it can
};

// The driver, loaded and initialised once. PENSTOCK_CUDA_DRIVER names another library than libcuda.so.1.
const Driver& find_driver();

// The same; throws PENSTOCK_ERR_UNSUPPORTED with the reason if CUDA cannot be used.
const Driver& require_driver();

// Throws PENSTOCK_ERR_OUT_OF_MEMORY or PENSTOCK_ERR_DEVICE, with the driver's words, unless the call went well.
void check(Result result, const char* call);

// Throws PENSTOCK_ERR_DEVICE if `check` has ever seen one of kContextFailures: nothing works on the device any more.
void refuse_failed_device();

// Calls a driver function by name and checks it.
#define PENSTOCK_CUDA(call, ...) ::penstock::cuda::check(::penstock::cuda::require_driver().call(__VA_ARGS__), #call)

}  // namespace penstock::cuda
