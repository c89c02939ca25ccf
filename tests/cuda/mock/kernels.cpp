// Modules and launches: what a launch is given is checked, and nothing is computed but a host's pictures.
#include <cstring>

#include "mock.h"
#include "picture_kernels.h"

using namespace mock;

namespace {

constexpr uint64_t kEncoded = 0x7465736e6f726d61;  // what a tensor map of ours ends with

struct Kernel {
  std::string symbol;
};

// Which parameters of a kernel are tensor maps.
std::vector<int> tensor_maps_of(const std::string& symbol) {
  if (symbol == "rolling_attention_sm90") return {0, 1, 2};
  if (symbol == "causal_conv3d_sm90") return {0, 2};
  return {};
}

}  // namespace

MOCK int cuModuleLoadData(void** module, const void* image) {
  LOCK;
  if (std::memcmp(image,
                  "\x7f"
                  "ELF",
                  4) != 0)
    return problem("a module that is no cubin");
  return create_handle("cuModuleLoadData", module);
}
MOCK int cuModuleUnload(void* module) {
  LOCK;
  return destroy_handle("cuModuleUnload", module);
}
MOCK int cuModuleGetFunction(void** function, void*, const char* symbol) {
  LOCK;
  static std::vector<Kernel*> kernels;
  kernels.push_back(new Kernel{symbol});
  *function = kernels.back();
  return count("cuModuleGetFunction");
}
MOCK int cuFuncSetAttribute(void*, int, int bytes) {
  LOCK;
  if (bytes > 232448) return problem("a kernel asks for more shared memory than there is");
  return count("cuFuncSetAttribute");
}
// cuda.h, cuTensorMapEncodeTiled: 9 is bf16, swizzle 3 is 128 bytes and 2 is 64.
MOCK int cuTensorMapEncodeTiled(uint64_t* map, int type, unsigned rank, void* address, const uint64_t* size,
                                const uint64_t* stride, const unsigned* box, const unsigned* step, int interleave,
                                int swizzle, int, int) {
  LOCK;
  const auto begin = reinterpret_cast<unsigned long long>(address);
  if (reinterpret_cast<uintptr_t>(map) % 64 || begin % 16) return problem("a tensor map is not aligned");
  if (type != 9 || rank != 4 || interleave != 0 || (swizzle != 3 && swizzle != 2))
    return problem("a tensor map of another kind");
  if (box[0] * 2 != (swizzle == 3 ? 128 : 64) || step[0] != 1) return problem("a box is not as wide as the swizzle");
  for (unsigned i = 0; i < rank; ++i)
    if (box[i] < 1 || box[i] > 256 || step[i] < 1 || step[i] > 8 || size[i] < 1 || size[i] > uint64_t{1} << 32)
      return problem("a tensor map's sizes are out of range");
  for (unsigned i = 0; i + 1 < rank; ++i)
    if (stride[i] % 16 || stride[i] >= uint64_t{1} << 40 || stride[i] < size[i] * (i ? stride[i - 1] : 2))
      return problem("a tensor map's strides are out of range");
  if (!on_device(begin, stride[rank - 2] * size[rank - 1])) return problem("a tensor map reaches beyond an allocation");
  map[15] = kEncoded;
  return count("cuTensorMapEncodeTiled");
}
MOCK int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned,
                        unsigned, void* stream, void** parameters, void**) {
  LOCK;
  if (!x || !y || !z || threads % 32 || threads > 1024 || !parameters) return problem("a launch of a bad shape");
  const std::string& symbol = static_cast<Kernel*>(function)->symbol;
  if (mock_pictures::run(symbol, y, parameters)) {
    record("convert", stream);
    return needs_context("cuLaunchKernel");
  }
  if (!state().capturing.count(stream)) return problem("a kernel is launched outside of a capture");
  for (const int i : tensor_maps_of(symbol))
    if (static_cast<uint64_t*>(parameters[i])[15] != kEncoded) return problem("a parameter that is no tensor map");
  ++state().recordings[stream].launches;
  for (void** parameter = parameters; *parameter; ++parameter) {
    unsigned long long value;
    std::memcpy(&value, *parameter, sizeof value);
    uses(stream, value);
  }
  ++state().counts["launch " + symbol];
  return needs_context("cuLaunchKernel");
}
