// A CUDA driver with cuBLASLt without a device, for tests: memory is host memory, copies happen at once, kernels are
// checked and counted but do nothing. Every call is counted by name; mock_count reads the counts, mock_log the order.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace mock {

constexpr int kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotReady = 600, kCaptureInvalid = 901,
              kIllegalAddress = 700;

// A matrix that a product writes, and how long the product takes.
struct Product {
  unsigned long long target;
  size_t bytes;
  double ms;
};

// What a stream in capture, or the graph that it became, holds.
struct Recording {
  int64_t launches = 0;
  std::string pointers;  // addresses that its launches are given, as JSON
  std::vector<Product> products;
};

struct State {
  std::mutex mutex;
  std::map<std::string, int64_t> counts;
  std::map<void*, size_t> device;         // allocations
  std::set<void*> handles;                // live streams, events, modules, graphs
  std::set<void*> capturing;              // streams in capture
  std::map<void*, Recording> recordings;  // of streams and graphs
  std::map<void*, double> clocks;  // stream → what it has done takes so long, in ms; event → when it was recorded
  std::string log;                 // calls that move data or order streams, one JSON list a line
  bool lost = false;               // the context failed
  int64_t contexts = 0;            // pushed and not popped
  int64_t problems = 0;
};

State& state();

// An environment variable, read at every call.
int setting(const char* name, int otherwise);

// Says what the caller did wrong.
int problem(const char* what);

int count(const char* name);
int needs_context(const char* name);

// Whether the bytes lie within one allocation.
bool on_device(unsigned long long address, size_t bytes);

int create_handle(const char* name, void** handle);
int destroy_handle(const char* name, void* handle);

// A launch of the capturing stream is given this address.
void uses(void* stream, unsigned long long address);

// Appends ["what", numbers...] to the log.
template <typename... Numbers>
void record(const char* what, Numbers... numbers) {
  state().log += std::string("[\"") + what + "\"";
  ((state().log += ", " + std::to_string((unsigned long long)numbers)), ...);
  state().log += "]\n";
}

}  // namespace mock

#define MOCK extern "C" __attribute__((visibility("default")))
#define LOCK const std::lock_guard<std::mutex> lock(mock::state().mutex)
