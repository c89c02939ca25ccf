// The kernels that were compiled ahead of time and are embedded in this library (kernels/aot.py): for every kernel and
// architecture one or more cubins, which differ in their compile-time constants.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cuda/context.h"

namespace penstock::cuda {

// Numbers by name; flags are 0 or 1.
using Numbers = std::map<std::string, int64_t, std::less<>>;

enum class ParameterType { kPointer, kI32, kI64, kF32, kTensorMap };

struct Parameter {
  std::string name;
  ParameterType type;
  bool divisible = false;  // the kernel counts on a multiple of 16
};

struct Kernel {
  std::string name;
  int architecture = 0;  // 90 for sm_90 and sm_90a
  Numbers constants;     // compile-time
  std::vector<Parameter> parameters;
  std::string symbol;
  unsigned threads = 0;           // per block
  unsigned shared = 0;            // bytes
  size_t scratch_parameters = 0;  // null pointers behind the parameters, by Triton's calling convention
  bool is_triton = true;          // or compiled by nvcc
  const void* image = nullptr;
};

// All kernels of this build; empty in a build without them. Parsed once.
const std::vector<Kernel>& embedded_kernels();

// A kernel that is ready to launch.
struct LoadedKernel {
  const Kernel* kernel = nullptr;
  Function function = nullptr;
};

// The kernels of one device, loaded when they are first asked for. The context must be current in every call and in the
// destructor.
class KernelLibrary {
 public:
  // Throws PENSTOCK_ERR_UNSUPPORTED if this build has no kernels for the architecture.
  explicit KernelLibrary(int architecture);

  int architecture() const { return architecture_; }
  bool has(std::string_view name, const Numbers& wanted) const { return find_kernel(name, wanted) != nullptr; }

  // The first variant with these constants among its own. Throws PENSTOCK_ERR_UNSUPPORTED, naming what there is.
  LoadedKernel find(std::string_view name, const Numbers& wanted);

 private:
  const Kernel* find_kernel(std::string_view name, const Numbers& wanted) const;

  int architecture_;
  std::map<const Kernel*, std::pair<OwnedModule, Function>> loaded_;
};

}  // namespace penstock::cuda
