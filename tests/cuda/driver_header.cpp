// csrc/engine/cuda/driver.h against cuda.h: compiles if every declaration and constant is the driver's.
#include <cstddef>

#include "engine/cuda/driver.h"
#include "headers.h"

// Declares the functions of all versions by the names under which the driver exports them.
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>

using namespace penstock::cuda;

#define CHECK(name, arguments) static_assert(PassAlike<Result(*) arguments, decltype(&::name)>::value, #name);
PENSTOCK_CUDA_FUNCTIONS(CHECK)
static_assert(PassAlike<decltype(Driver::cuTensorMapEncodeTiled), decltype(&::cuTensorMapEncodeTiled)>::value);

static_assert(kSuccess == CUDA_SUCCESS && kOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(kNotReady == CUDA_ERROR_NOT_READY);
constexpr Result kExpectedFailures[] = {
    CUDA_ERROR_ECC_UNCORRECTABLE,
    CUDA_ERROR_NVLINK_UNCORRECTABLE,
    CUDA_ERROR_ILLEGAL_ADDRESS,
    CUDA_ERROR_LAUNCH_TIMEOUT,
    CUDA_ERROR_ASSERT,
    CUDA_ERROR_HARDWARE_STACK_ERROR,
    CUDA_ERROR_ILLEGAL_INSTRUCTION,
    CUDA_ERROR_MISALIGNED_ADDRESS,
    CUDA_ERROR_INVALID_ADDRESS_SPACE,
    CUDA_ERROR_INVALID_PC,
    CUDA_ERROR_LAUNCH_FAILED,
};
static_assert(sizeof kContextFailures == sizeof kExpectedFailures);
constexpr bool are_equal() {
  for (std::size_t i = 0; i < sizeof kContextFailures / sizeof *kContextFailures; ++i)
    if (kContextFailures[i] != kExpectedFailures[i]) return false;
  return true;
}
static_assert(are_equal());

static_assert(int(DeviceAttribute::kMultiprocessors) == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(int(DeviceAttribute::kComputeMajor) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(int(DeviceAttribute::kComputeMinor) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(int(FunctionAttribute::kMaxDynamicShared) == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(kStreamNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(kCaptureRelaxed == CU_STREAM_CAPTURE_MODE_RELAXED);
static_assert(int(PointerAttribute::kDeviceOrdinal) == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);

// CUDA 13 declares it with 128 bytes of alignment, and asks for 64, as before.
static_assert(sizeof(penstock::TensorMap) == sizeof(CUtensorMap) && alignof(penstock::TensorMap) == 64);
static_assert(kTensorBFloat16 == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16);
static_assert(kInterleaveNone == CU_TENSOR_MAP_INTERLEAVE_NONE && kSwizzle128 == CU_TENSOR_MAP_SWIZZLE_128B);
static_assert(kPromoteTo256 == CU_TENSOR_MAP_L2_PROMOTION_L2_256B);
static_assert(kOutsideZero == CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
