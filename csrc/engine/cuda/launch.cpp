#include "engine/cuda/launch.h"

#include <cstring>
#include <limits>

#include "engine/error.h"

namespace penstock::cuda {
namespace {

constexpr int64_t kMaxGridX = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxGridYZ = 65535;
constexpr uint64_t kDivisor = 16;

}  // namespace

const Parameter& Launch::next(ParameterType a, ParameterType b) {
  const Kernel& kernel = *loaded_.kernel;
  if (values_.size() == kernel.parameters.size())
    fail(PENSTOCK_ERR_INTERNAL, "kernel ", kernel.name, ": more than its ", values_.size(), " parameters");
  const Parameter& parameter = kernel.parameters[values_.size()];
  if (parameter.type != a && parameter.type != b)
    fail(PENSTOCK_ERR_INTERNAL, "kernel ", kernel.name, ": parameter ", parameter.name, " is of another type");
  return parameter;
}

// A kernel reads each parameter in its own size from the begin of its slot.
template <typename T>
void Launch::pack(T value) {
  TensorMap slot{};
  std::memcpy(&slot, &value, sizeof value);
  values_.push_back(slot);
}

void Launch::check_alignment(const Parameter& parameter, const void* address) const {
  if (reinterpret_cast<uint64_t>(address) % kDivisor != 0)
    fail(PENSTOCK_ERR_UNSUPPORTED, "kernel ", loaded_.kernel->name, ": ", parameter.name,
         " must be aligned to 16 bytes on a CUDA device");
}

int64_t Launch::constant(std::string_view name) const {
  const Numbers& constants = loaded_.kernel->constants;
  const auto found = constants.find(name);
  if (found == constants.end())
    fail(PENSTOCK_ERR_INTERNAL, "kernel ", loaded_.kernel->name, " has no constant ", std::string(name));
  return found->second;
}

Launch& Launch::pointer(const TensorView& tensor) { return pointer(tensor.data); }

Launch& Launch::pointer(const void* address) {
  const Parameter& parameter = next(ParameterType::kPointer, ParameterType::kPointer);
  if (parameter.divisible) check_alignment(parameter, address);
  pack(reinterpret_cast<uint64_t>(address));
  return *this;
}

Launch& Launch::integer(int64_t value) {
  const Parameter& parameter = next(ParameterType::kI32, ParameterType::kI64);
  if (parameter.divisible && value % static_cast<int64_t>(kDivisor) != 0)
    fail(PENSTOCK_ERR_UNSUPPORTED, "kernel ", loaded_.kernel->name, ": ", parameter.name,
         " must be a multiple of 16 on a CUDA device, got ", value);
  if (parameter.type == ParameterType::kI64) {
    pack(value);
    return *this;
  }
  if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max())
    fail(PENSTOCK_ERR_UNSUPPORTED, "kernel ", loaded_.kernel->name, ": ", parameter.name, " is too large: ", value);
  pack(static_cast<int32_t>(value));
  return *this;
}

Launch& Launch::real(float value) {
  next(ParameterType::kF32, ParameterType::kF32);
  pack(value);
  return *this;
}

Launch& Launch::tensor_map(const TiledTensor& tensor) {
  check_alignment(next(ParameterType::kTensorMap, ParameterType::kTensorMap), tensor.address);
  if (!require_driver().cuTensorMapEncodeTiled)
    fail(PENSTOCK_ERR_UNSUPPORTED, "device cuda: the CUDA driver is too old: it lacks cuTensorMapEncodeTiled");
  const int swizzle = tensor.box[0] == 64 ? kSwizzle128 : kSwizzle64;
  uint32_t spanned[4];  // what the driver calls the box: with the elements that are stepped over
  for (int i = 0; i < 4; ++i) spanned[i] = tensor.box[i] * tensor.step[i];
  TensorMap map{};
  PENSTOCK_CUDA(cuTensorMapEncodeTiled, &map, kTensorBFloat16, 4, const_cast<void*>(tensor.address), tensor.size,
                tensor.stride, spanned, tensor.step, kInterleaveNone, swizzle, kPromoteTo256, kOutsideZero);
  pack(map);
  return *this;
}

void Launch::run(Grid grid) {
  const Kernel& kernel = *loaded_.kernel;
  if (values_.size() != kernel.parameters.size())
    fail(PENSTOCK_ERR_INTERNAL, "kernel ", kernel.name, ": ", values_.size(), " of ", kernel.parameters.size(),
         " parameters");
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > kMaxGridX || grid.y > kMaxGridYZ || grid.z > kMaxGridYZ)
    fail(PENSTOCK_ERR_UNSUPPORTED, "kernel ", kernel.name, ": the grid ", grid.x, " x ", grid.y, " x ", grid.z,
         " is beyond what a device takes");
  values_.resize(values_.size() + kernel.scratch_parameters, TensorMap{});
  std::vector<void*> pointers;
  for (TensorMap& value : values_) pointers.push_back(&value);
  pointers.push_back(nullptr);  // ends the list for tools that watch the calls; the driver knows its length
  PENSTOCK_CUDA(cuLaunchKernel, loaded_.function, static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                static_cast<unsigned>(grid.z), kernel.threads, 1, 1, kernel.shared, stream_, pointers.data(), nullptr);
}

void* Launcher::workspace(size_t bytes) const {
  if (bytes > workspace_bytes_)
    fail(PENSTOCK_ERR_INTERNAL, "an op needs ", bytes, " bytes of workspace, the backend has ", workspace_bytes_);
  return workspace_;
}

}  // namespace penstock::cuda
