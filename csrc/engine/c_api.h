// What the two halves of the C ABI share: the handles, argument checks, struct versions, exceptions to statuses.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/error.h"
#include "engine/live_session.h"
#include "penstock/penstock.h"

struct penstock_engine {
  std::shared_ptr<penstock::Engine> engine;
  penstock::Log log;
  std::shared_ptr<const penstock::PromptEmbeddings> prompt;  // of the engine directory; null if it has none
};

struct penstock_session : penstock::LiveSession {
  using LiveSession::LiveSession;
};

struct penstock_picture {
  penstock::Frame frame;
};

namespace penstock {

// Keeps the message for penstock_last_error on this thread; returns the status.
penstock_status report(penstock_status status, const char* message) noexcept;

// Runs `body` and turns whatever it throws into a status: nothing crosses the boundary.
template <typename Body>
penstock_status guarded(Body&& body) noexcept {
  try {
    body();
    return PENSTOCK_OK;
  } catch (...) {
    penstock_status status = PENSTOCK_OK;
    with_current_exception([&](penstock_status kind, const char* message) { status = report(kind, message); });
    return status;
  }
}

template <typename T>
T& require(T* pointer, const char* name) {
  if (!pointer) fail(PENSTOCK_ERR_INVALID_ARGUMENT, name, " is null");
  return *pointer;
}

// Reads a caller's struct that may be an older, shorter one: what it lacks keeps its default.
template <typename T>
T read_struct(const T* given, T defaults, const char* name) {
  const uint32_t size = require(given, name).struct_size;
  if (size < sizeof(uint32_t) || size > 4096)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, name, ".struct_size is ", size, "; set it with the _init function or sizeof");
  std::memcpy(&defaults, given, std::min<size_t>(size, sizeof(T)));
  return defaults;
}

// Fills a caller's struct as far as it goes.
template <typename T>
void write_struct(T* target, T value, const char* name) {
  const T checked = read_struct(target, value, name);
  value.struct_size = checked.struct_size;
  std::memcpy(target, &value, std::min<size_t>(checked.struct_size, sizeof(T)));
}

// Defaults for a caller's struct: zero but for its size.
template <typename T>
T sized_struct() {
  T value{};
  value.struct_size = sizeof value;
  return value;
}

struct HostTensor {
  DType dtype;
  Shape shape;
  const void* data;
};

// Checks a caller's tensor, less the bytes behind its pointer.
HostTensor read_tensor(const penstock_tensor* given);

}  // namespace penstock
