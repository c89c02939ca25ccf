// A CUDA driver without a device, for tests: memory is host memory, copies happen at once, kernels are checked and
// counted but do nothing. Every call is counted by name; mock_count reads the counts.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr uint64_t kEncoded = 0x7465736e6f726d61;  // what a tensor map of ours ends with
constexpr int kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotReady = 600, kCaptureInvalid = 901,
              kIllegalAddress = 700;

struct Mock {
  std::mutex mutex;
  std::map<std::string, int64_t> counts;
  std::map<void*, size_t> device;         // allocations
  std::set<void*> handles;                // live streams, events, modules, graphs
  std::set<void*> capturing;              // streams in capture
  std::map<void*, int64_t> captured;      // stream or graph → launches in it
  std::map<void*, std::string> pointers;  // stream or graph → addresses that its launches are given, as JSON
  std::string log;                        // calls that move data or order streams, one JSON list a line
  bool lost = false;                      // the context failed
  int64_t contexts = 0;                   // pushed and not popped
  int64_t problems = 0;
};

Mock& mock() {
  static Mock instance;
  return instance;
}

int setting(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : otherwise;
}

int problem(const char* what) {
  std::fprintf(stderr, "mock driver: %s\n", what);
  ++mock().problems;
  return kInvalidValue;
}

int count(const char* name) {
  ++mock().counts[name];
  return kSuccess;
}

template <typename T>
int create(const char* name, T** handle) {
  count(name);
  void* memory = std::malloc(1);
  mock().handles.insert(memory);
  *handle = static_cast<T*>(memory);
  return kSuccess;
}

int destroy(const char* name, void* handle) {
  count(name);
  if (!mock().handles.erase(handle)) return problem("a handle is closed that is not open");
  std::free(handle);
  return kSuccess;
}

// MOCK_FAIL="cuGraphLaunch 5": from the fifth such call on the context is lost, and all work fails.
bool lost(const std::string& name) {
  const char* setting = std::getenv("MOCK_FAIL");
  if (setting && !mock().lost) {
    const std::string text = setting;
    const size_t space = text.find(' ');
    mock().lost = name == text.substr(0, space) && mock().counts[name] >= std::atoi(text.c_str() + space);
  }
  return mock().lost;
}

int needs_context(const char* name) {
  count(name);
  if (lost(name)) return kIllegalAddress;
  return mock().contexts > 0 ? kSuccess : problem("a call without a current context");
}

bool on_device(unsigned long long address, size_t bytes) {
  for (const auto& [memory, size] : mock().device) {
    const auto begin = reinterpret_cast<unsigned long long>(memory);
    if (address >= begin && address + bytes <= begin + size) return true;
  }
  return false;
}

// Appends ["what", numbers...] to the log.
template <typename... Numbers>
void record(const char* what, Numbers... numbers) {
  mock().log += std::string("[\"") + what + "\"";
  ((mock().log += ", " + std::to_string((unsigned long long)numbers)), ...);
  mock().log += "]\n";
}

// A launch of the capturing stream is given this address.
void uses(void* stream, unsigned long long address) {
  if (!on_device(address, 1)) return;
  std::string& list = mock().pointers[stream];
  list += (list.empty() ? "" : ", ") + std::to_string(address);
}

struct Kernel {
  std::string symbol;
};

}  // namespace

#define MOCK extern "C" __attribute__((visibility("default")))
#define LOCK const std::lock_guard<std::mutex> lock(mock().mutex)

MOCK int64_t mock_count(const char* name) {
  LOCK;
  const std::string key = name;
  if (key == "problems") return mock().problems;
  if (key == "live handles") return static_cast<int64_t>(mock().handles.size());
  if (key == "live allocations") return static_cast<int64_t>(mock().device.size());
  return mock().counts[key];
}

// The log since the last call of this function; valid until the next one.
MOCK const char* mock_log() {
  LOCK;
  static std::string taken;
  taken.clear();
  taken.swap(mock().log);
  return taken.c_str();
}

MOCK int cuInit(unsigned) { return setting("MOCK_INIT", kSuccess); }
MOCK int cuDriverGetVersion(int* version) { return *version = 13000, kSuccess; }
MOCK int cuGetErrorString(int result, const char** text) {
  *text = result == kOutOfMemory ? "out of memory" : "mock error";
  return kSuccess;
}
MOCK int cuDeviceGetCount(int* devices) { return *devices = setting("MOCK_DEVICES", 1), kSuccess; }
MOCK int cuDeviceGet(int* device, int number) { return *device = number, kSuccess; }
MOCK int cuDeviceGetName(char* name, int size, int) { return std::snprintf(name, size, "Mock GPU"), kSuccess; }
MOCK int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = size_t{2} << 30, kSuccess; }
MOCK int cuDeviceGetAttribute(int* value, int attribute, int) {
  const int architecture = setting("MOCK_ARCHITECTURE", 90);
  if (attribute == 16) return *value = setting("MOCK_MULTIPROCESSORS", 132), kSuccess;
  *value = attribute == 75 ? architecture / 10 : architecture % 10;
  return kSuccess;
}
MOCK int cuDevicePrimaryCtxRetain(void** context, int) {
  LOCK;
  static int primary;
  *context = &primary;
  return count("cuDevicePrimaryCtxRetain");
}
MOCK int cuDevicePrimaryCtxRelease_v2(int) {
  LOCK;
  return count("cuDevicePrimaryCtxRelease");
}
MOCK int cuCtxPushCurrent_v2(void*) {
  LOCK;
  ++mock().contexts;
  return kSuccess;
}
MOCK int cuCtxPopCurrent_v2(void** context) {
  LOCK;
  --mock().contexts;
  return *context = nullptr, kSuccess;
}
MOCK int cuMemGetInfo_v2(size_t* available, size_t* total) {
  *available = size_t{1} << 30;
  *total = size_t{2} << 30;
  return kSuccess;
}
MOCK int cuMemAlloc_v2(unsigned long long* address, size_t bytes) {
  LOCK;
  if (const int result = needs_context("cuMemAlloc")) return result;
  size_t used = bytes;
  for (const auto& [memory, size] : mock().device) used += size;
  if (used > static_cast<size_t>(setting("MOCK_MEMORY_MIB", 1 << 20)) << 20) return kOutOfMemory;
  void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  mock().device[memory] = bytes;
  *address = reinterpret_cast<unsigned long long>(memory);
  return kSuccess;
}
MOCK int cuMemFree_v2(unsigned long long address) {
  LOCK;
  needs_context("cuMemFree");
  void* memory = reinterpret_cast<void*>(address);
  if (!mock().device.erase(memory)) return problem("memory is freed that is not allocated");
  std::free(memory);
  return kSuccess;
}
MOCK int cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  LOCK;
  if (const int result = needs_context("cuMemHostAlloc")) return result;
  *memory = std::malloc(bytes);
  mock().handles.insert(*memory);
  return kSuccess;
}
MOCK int cuMemFreeHost(void* memory) {
  LOCK;
  return destroy("cuMemFreeHost", memory);
}
MOCK int cuMemcpyHtoDAsync_v2(unsigned long long device, const void* host, size_t bytes, void* stream) {
  LOCK;
  if (!on_device(device, bytes)) return problem("an upload beyond an allocation");
  std::memcpy(reinterpret_cast<void*>(device), host, bytes);
  record("upload", stream, device, bytes);
  return needs_context("cuMemcpyHtoDAsync");
}
MOCK int cuMemcpyDtoHAsync_v2(void* host, unsigned long long device, size_t bytes, void* stream) {
  LOCK;
  if (!on_device(device, bytes)) return problem("a download beyond an allocation");
  std::memcpy(host, reinterpret_cast<const void*>(device), bytes);
  record("download", stream, device, bytes);
  return needs_context("cuMemcpyDtoHAsync");
}
MOCK int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void* stream) {
  LOCK;
  if (!on_device(to, bytes) || !on_device(from, bytes)) return problem("a copy beyond an allocation");
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  record("copy", stream, to, from, bytes);
  return needs_context("cuMemcpyDtoDAsync");
}
struct MockCopySide {
  size_t x, y;
  int memory_type;
  void* host;
  unsigned long long device;
  void* array;
  size_t pitch;
};
MOCK int cuMemcpy2DAsync_v2(const void* copy, void*) {
  LOCK;
  struct {
    MockCopySide from, to;
    size_t width, height;
  } c;
  std::memcpy(&c, copy, sizeof c);
  if (c.from.memory_type != 2 || c.to.memory_type != 2 || c.from.x || c.from.y || c.to.x || c.to.y)
    return problem("a 2-D copy that is not from device to device");
  for (size_t row = 0; row < c.height; ++row) {
    const unsigned long long from = c.from.device + row * c.from.pitch, to = c.to.device + row * c.to.pitch;
    if (!on_device(from, c.width) || !on_device(to, c.width)) return problem("a 2-D copy beyond an allocation");
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), c.width);
  }
  return needs_context("cuMemcpy2DAsync");
}
MOCK int cuMemsetD8Async(unsigned long long device, unsigned char value, size_t bytes, void* stream) {
  LOCK;
  if (!on_device(device, bytes)) return problem("a memset beyond an allocation");
  std::memset(reinterpret_cast<void*>(device), value, bytes);
  record("upload", stream, device, bytes);
  return needs_context("cuMemsetD8Async");
}
MOCK int cuStreamCreate(void** stream, unsigned) {
  LOCK;
  return create("cuStreamCreate", stream);
}
MOCK int cuStreamDestroy_v2(void* stream) {
  LOCK;
  return destroy("cuStreamDestroy", stream);
}
MOCK int cuStreamSynchronize(void* stream) {
  LOCK;
  record("synchronize stream", stream);
  return needs_context("cuStreamSynchronize");
}
MOCK int cuStreamWaitEvent(void* stream, void* event, unsigned) {
  LOCK;
  record("wait", stream, event);
  return needs_context("cuStreamWaitEvent");
}
MOCK int cuStreamBeginCapture_v2(void* stream, int mode) {
  LOCK;
  if (mode != 2) return problem("a capture in which no kernel could be loaded");
  mock().capturing.insert(stream);
  mock().captured[stream] = 0;
  mock().pointers[stream].clear();
  return needs_context("cuStreamBeginCapture");
}
MOCK int cuStreamEndCapture(void* stream, void** graph) {
  LOCK;
  if (!mock().capturing.erase(stream)) return kCaptureInvalid;
  create("cuStreamEndCapture", graph);
  mock().captured[*graph] = mock().captured[stream];
  mock().pointers[*graph] = mock().pointers[stream];
  return kSuccess;
}
MOCK int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
  LOCK;
  create("cuGraphInstantiate", exec);
  mock().captured[*exec] = mock().captured[graph];
  mock().log += "[\"graph\", " + std::to_string(reinterpret_cast<unsigned long long>(*exec)) + ", [" +
                mock().pointers[graph] + "]]\n";
  return kSuccess;
}
MOCK int cuGraphLaunch(void* exec, void* stream) {
  LOCK;
  record("launch", stream, exec);
  if (mock().captured[exec] == 0) return problem("an empty graph is launched");
  return needs_context("cuGraphLaunch");
}
MOCK int cuGraphExecDestroy(void* exec) {
  LOCK;
  return destroy("cuGraphExecDestroy", exec);
}
MOCK int cuGraphDestroy(void* graph) {
  LOCK;
  return destroy("cuGraphDestroy", graph);
}
MOCK int cuEventCreate(void** event, unsigned) {
  LOCK;
  return create("cuEventCreate", event);
}
MOCK int cuEventDestroy_v2(void* event) {
  LOCK;
  return destroy("cuEventDestroy", event);
}
MOCK int cuEventRecord(void* event, void* stream) {
  LOCK;
  record("record", stream, event);
  return needs_context("cuEventRecord");
}
MOCK int cuEventQuery(void*) {
  LOCK;
  needs_context("cuEventQuery");
  return setting("MOCK_BUSY", 0) ? kNotReady : kSuccess;
}
MOCK int cuEventSynchronize(void* event) {
  LOCK;
  record("synchronize event", event);
  return needs_context("cuEventSynchronize");
}
MOCK int cuEventElapsedTime(float* ms, void*, void*) {
  LOCK;
  *ms = 1.5f;
  return needs_context("cuEventElapsedTime");
}
MOCK int cuModuleLoadData(void** module, const void* image) {
  LOCK;
  if (std::memcmp(image,
                  "\x7f"
                  "ELF",
                  4) != 0)
    return problem("a module that is no cubin");
  return create("cuModuleLoadData", module);
}
MOCK int cuModuleUnload(void* module) {
  LOCK;
  return destroy("cuModuleUnload", module);
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
// Which parameters of a kernel are tensor maps.
static std::vector<int> tensor_maps_of(const std::string& symbol) {
  if (symbol == "rolling_attention_sm90") return {0, 1, 2};
  if (symbol == "causal_conv3d_sm90") return {0, 2};
  return {};
}

MOCK int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned,
                        unsigned, void* stream, void** parameters, void**) {
  LOCK;
  if (!mock().capturing.count(stream)) return problem("a kernel is launched outside of a capture");
  if (!x || !y || !z || threads % 32 || threads > 1024 || !parameters) return problem("a launch of a bad shape");
  const std::string& symbol = static_cast<Kernel*>(function)->symbol;
  for (const int i : tensor_maps_of(symbol))
    if (static_cast<uint64_t*>(parameters[i])[15] != kEncoded) return problem("a parameter that is no tensor map");
  ++mock().captured[stream];
  for (void** parameter = parameters; *parameter; ++parameter) {
    unsigned long long value;
    std::memcpy(&value, *parameter, sizeof value);
    uses(stream, value);
  }
  ++mock().counts["launch " + symbol];
  return needs_context("cuLaunchKernel");
}

// cuBLASLt, in the same library: descriptors are dummies, products are counted as launches of the capturing stream.
MOCK int cublasLtCreate(void** handle) {
  LOCK;
  return create("cublasLtCreate", handle);
}
MOCK int cublasLtDestroy(void* handle) {
  LOCK;
  return destroy("cublasLtDestroy", handle);
}
MOCK int cublasLtMatmulDescCreate(void** handle, int, int) {
  LOCK;
  return create("cublasLtMatmulDescCreate", handle);
}
MOCK int cublasLtMatmulDescDestroy(void* handle) {
  LOCK;
  return destroy("cublasLtMatmulDescDestroy", handle);
}
MOCK int cublasLtMatmulDescSetAttribute(void*, int, const void*, size_t) { return kSuccess; }
MOCK int cublasLtMatrixLayoutCreate(void** handle, int, uint64_t, uint64_t, int64_t) {
  LOCK;
  return create("cublasLtMatrixLayoutCreate", handle);
}
MOCK int cublasLtMatrixLayoutDestroy(void* handle) {
  LOCK;
  return destroy("cublasLtMatrixLayoutDestroy", handle);
}
MOCK int cublasLtMatmulPreferenceCreate(void** handle) {
  LOCK;
  return create("cublasLtMatmulPreferenceCreate", handle);
}
MOCK int cublasLtMatmulPreferenceDestroy(void* handle) {
  LOCK;
  return destroy("cublasLtMatmulPreferenceDestroy", handle);
}
MOCK int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return kSuccess; }
MOCK int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*, int* found) {
  LOCK;
  *found = 1;
  return count("cublasLtMatmulAlgoGetHeuristic");
}
MOCK int cublasLtMatmul(void*, void*, const void*, const void* a, void*, const void* b, void*, const void*,
                        const void* c, void*, void* d, void*, const void*, const void* workspace, size_t,
                        void* stream) {
  LOCK;
  if (!mock().capturing.count(stream)) return problem("a product outside of a capture");
  for (const void* operand : {a, b, c, static_cast<const void*>(d), workspace}) {
    if (!on_device(reinterpret_cast<unsigned long long>(operand), 2)) return problem("a product of host memory");
    uses(stream, reinterpret_cast<unsigned long long>(operand));
  }
  ++mock().captured[stream];
  return count("cublasLtMatmul");
}
