// What the two halves of the C ABI share: the handles, argument checks, struct versions, exceptions to statuses.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "engine/error.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "penstock/penstock.h"

struct penstock_engine {
  std::shared_ptr<penstock::Engine> engine;
};

struct penstock_session {
  explicit penstock_session(std::shared_ptr<const penstock::Engine> engine) : session(std::move(engine)) {}

  // The stream of a plan that has video phases; throws for one that has none.
  penstock::Stream& video() {
    if (!stream) stream.emplace(session);
    return *stream;
  }

  penstock::Session session;
  std::optional<penstock::Stream> stream;
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
  } catch (const Error& error) {
    return report(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return report(PENSTOCK_ERR_OUT_OF_MEMORY, "out of host memory");
  } catch (const std::exception& error) {
    return report(PENSTOCK_ERR_INTERNAL, error.what());
  } catch (...) {
    return report(PENSTOCK_ERR_INTERNAL, "unknown exception");
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

struct HostTensor {
  DType dtype;
  Shape shape;
  const void* data;
};

// Checks a caller's tensor, less the bytes behind its pointer.
HostTensor read_tensor(const penstock_tensor* given);

}  // namespace penstock
