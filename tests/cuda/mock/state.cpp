// What the mock driver knows, and how tests read it.
#include <cstdio>
#include <cstdlib>

#include "mock.h"

namespace mock {
namespace {

// MOCK_FAIL="cuGraphLaunch 5": from the fifth such call on the context is lost, and all work fails.
bool is_lost(const std::string& name) {
  const char* setting = std::getenv("MOCK_FAIL");
  if (setting && !state().lost) {
    const std::string text = setting;
    const size_t space = text.find(' ');
    state().lost = name == text.substr(0, space) && state().counts[name] >= std::atoi(text.c_str() + space);
  }
  return state().lost;
}

}  // namespace

State& state() {
  static State instance;
  return instance;
}

int setting(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : otherwise;
}

int problem(const char* what) {
  std::fprintf(stderr, "mock driver: %s\n", what);
  ++state().problems;
  return kInvalidValue;
}

int count(const char* name) {
  ++state().counts[name];
  return kSuccess;
}

int needs_context(const char* name) {
  count(name);
  if (is_lost(name)) return kIllegalAddress;
  return state().contexts > 0 ? kSuccess : problem("a call without a current context");
}

int create_handle(const char* name, void** handle) {
  count(name);
  *handle = std::malloc(1);
  state().handles.insert(*handle);
  return kSuccess;
}

int destroy_handle(const char* name, void* handle) {
  count(name);
  if (!state().handles.erase(handle)) return problem("a handle is closed that is not open");
  std::free(handle);
  return kSuccess;
}

bool on_device(unsigned long long address, size_t bytes) {
  for (const auto& [memory, size] : state().device) {
    const auto begin = reinterpret_cast<unsigned long long>(memory);
    if (address >= begin && address + bytes <= begin + size) return true;
  }
  return false;
}

void uses(void* stream, unsigned long long address) {
  if (!on_device(address, 1)) return;
  std::string& list = state().recordings[stream].pointers;
  list += (list.empty() ? "" : ", ") + std::to_string(address);
}

}  // namespace mock

MOCK int64_t mock_count(const char* name) {
  LOCK;
  const std::string key = name;
  if (key == "problems") return mock::state().problems;
  if (key == "live handles") return static_cast<int64_t>(mock::state().handles.size());
  if (key == "live allocations") return static_cast<int64_t>(mock::state().device.size());
  return mock::state().counts[key];
}

// The log since the last call of this function; valid until the next one.
MOCK const char* mock_log() {
  LOCK;
  static std::string taken;
  taken.clear();
  taken.swap(mock::state().log);
  return taken.c_str();
}
