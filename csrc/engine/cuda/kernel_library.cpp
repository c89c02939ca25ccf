#include "engine/cuda/kernel_library.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/safetensors.h"

// The file that kernels/aot.py wrote, from kernel_bundle.S; the two are equal in a build without kernels.
extern "C" const unsigned char penstock_kernel_bundle_begin[];
extern "C" const unsigned char penstock_kernel_bundle_end[];

namespace penstock::cuda {
namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kDefaultShared = 48 << 10;  // beyond it a kernel must ask

ParameterType parameter_type(const Json& type) {
  const std::string text = type.string();
  if (!text.empty() && text[0] == '*') return ParameterType::kPointer;
  if (text == "i32") return ParameterType::kI32;
  if (text == "i64" || text == "u64") return ParameterType::kI64;
  if (text == "fp32") return ParameterType::kF32;
  if (text == "tensormap") return ParameterType::kTensorMap;
  type.fail("unknown parameter type ", quoted(text));
}

// "sm_90a" → 90
int read_architecture(const Json& arch) {
  const std::string text = arch.string();
  int number = 0;
  for (const char digit : text)
    if (digit >= '0' && digit <= '9' && number < 1000) number = 10 * number + (digit - '0');
  if (text.rfind("sm_", 0) != 0 || number == 0)
    arch.fail("expected an architecture such as sm_90a, got ", quoted(text));
  return number;
}

Kernel read_kernel(const Json& entry, const Safetensors& bundle) {
  Kernel kernel;
  kernel.name = entry.at("name").string();
  kernel.architecture = read_architecture(entry.at("arch"));
  kernel.symbol = entry.at("symbol").string();
  kernel.threads = static_cast<unsigned>(entry.at("warps").integer(1, 32)) * kWarp;
  kernel.shared = static_cast<unsigned>(entry.at("shared").integer(0, 1 << 20));
  kernel.scratch_parameters = static_cast<size_t>(entry.at("scratch_params").integer(0, 8));
  kernel.is_triton = entry.at("compiler").string() == "triton";
  for (const auto& [name, value] : entry.at("constants").members())
    kernel.constants[name] = value.kind() == Json::Kind::kBool ? value.boolean() : value.integer();
  std::vector<std::string> divisible;
  for (const Json& name : entry.at("divisible").items()) divisible.push_back(name.string());
  for (const Json& parameter : entry.at("params").items()) {
    const std::string name = parameter.at("name").string();
    const bool divides = std::find(divisible.begin(), divisible.end(), name) != divisible.end();
    kernel.parameters.push_back({name, parameter_type(parameter.at("type")), divides});
  }
  const SafetensorsEntry* image = bundle.find(entry.at("tensor").string());
  if (!image) entry.fail("its cubin is missing");
  kernel.image = image->data;
  return kernel;
}

std::vector<Kernel> read_bundle() {
  const size_t size = static_cast<size_t>(penstock_kernel_bundle_end - penstock_kernel_bundle_begin);
  if (size == 0) return {};
  static const Safetensors bundle(penstock_kernel_bundle_begin, size, "embedded kernels");
  const SafetensorsEntry* manifest = bundle.find("manifest");
  if (!manifest) fail(PENSTOCK_ERR_INTERNAL, "embedded kernels: the manifest is missing");
  const std::string_view text(static_cast<const char*>(manifest->data), manifest->bytes);
  std::vector<Kernel> kernels;
  for (const Json& entry : parse_json(text, "embedded kernels: manifest").at("kernels").items())
    kernels.push_back(read_kernel(entry, bundle));
  return kernels;
}

bool does_serve(const Kernel& kernel, const Numbers& wanted) {
  for (const auto& [name, value] : wanted) {
    const auto own = kernel.constants.find(name);
    if (own == kernel.constants.end() || own->second != value) return false;
  }
  return true;
}

std::string numbers_text(const Numbers& numbers) {
  std::string text;
  for (const auto& [name, value] : numbers) text += cat(text.empty() ? "" : ", ", name, "=", value);
  return "{" + text + "}";
}

}  // namespace

const std::vector<Kernel>& embedded_kernels() {
  static const std::vector<Kernel> kernels = read_bundle();
  return kernels;
}

KernelLibrary::KernelLibrary(int architecture) : architecture_(architecture) {
  std::string known;
  for (const Kernel& kernel : embedded_kernels()) {
    if (kernel.architecture == architecture) return;
    const std::string text = cat(" sm_", kernel.architecture);
    if (known.find(text) == std::string::npos) known += text;
  }
  fail(PENSTOCK_ERR_UNSUPPORTED, "device cuda: this build has no kernels for sm_", architecture, "; it has",
       known.empty() ? " none" : known);
}

const Kernel* KernelLibrary::find_kernel(std::string_view name, const Numbers& wanted) const {
  for (const Kernel& kernel : embedded_kernels())
    if (kernel.architecture == architecture_ && kernel.name == name && does_serve(kernel, wanted)) return &kernel;
  return nullptr;
}

LoadedKernel KernelLibrary::find(std::string_view name, const Numbers& wanted) {
  const Kernel* kernel = find_kernel(name, wanted);
  if (!kernel) {
    std::string known;
    for (const Kernel& other : embedded_kernels())
      if (other.architecture == architecture_ && other.name == name) known += " " + numbers_text(other.constants);
    fail(PENSTOCK_ERR_UNSUPPORTED, "kernel ", quoted(name), " was not compiled for sm_", architecture_, " with ",
         numbers_text(wanted), "; there is:", known.empty() ? " nothing" : known);
  }
  auto& [module, function] = loaded_[kernel];
  if (!module) {
    Module handle = nullptr;
    PENSTOCK_CUDA(cuModuleLoadData, &handle, kernel->image);
    module.reset(handle);
    PENSTOCK_CUDA(cuModuleGetFunction, &function, handle, kernel->symbol.c_str());
    if (kernel->shared > kDefaultShared)
      PENSTOCK_CUDA(cuFuncSetAttribute, function, FunctionAttribute::kMaxDynamicShared,
                    static_cast<int>(kernel->shared));
  }
  return {kernel, function};
}

}  // namespace penstock::cuda
