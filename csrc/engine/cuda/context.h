// A device's primary context and penstock's stream on it, and the handles that live in it. The context is current only
// within a call: the host's own current context is not touched.
#pragma once

#include <memory>
#include <string>
#include <type_traits>

#include "engine/cuda/driver.h"

namespace penstock::cuda {

// The primary context of a device, retained for as long as this lives.
class PrimaryContext {
 public:
  explicit PrimaryContext(Device device);
  ~PrimaryContext();
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;

  Context handle() const { return handle_; }
  std::string name() const;                           // "NVIDIA H100 80GB HBM3"
  int architecture() const { return architecture_; }  // 90 for compute capability 9.0
  int multiprocessors() const { return multiprocessors_; }

 private:
  Device device_;
  Context handle_ = nullptr;
  int architecture_ = 0;
  int multiprocessors_ = 0;
};

// Makes a context current for a scope. If that fails, so does the first checked call within.
class Current {
 public:
  explicit Current(const PrimaryContext& context) noexcept
      : pushed_(find_driver().cuCtxPushCurrent_v2(context.handle()) == kSuccess) {}
  ~Current() {
    Context ignored;
    if (pushed_) find_driver().cuCtxPopCurrent_v2(&ignored);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  bool pushed_;
};

// Closes a handle by a driver function; the context must be current, as it is within the backend's calls.
template <typename Handle, Result (*Driver::*Close)(Handle)>
struct Closer {
  using pointer = Handle;
  void operator()(Handle handle) const { (find_driver().*Close)(handle); }
};
template <typename Handle, Result (*Driver::*Close)(Handle)>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Closer<Handle, Close>>;

using OwnedStream = Owned<Stream, &Driver::cuStreamDestroy_v2>;
using OwnedEvent = Owned<Event, &Driver::cuEventDestroy_v2>;
using OwnedModule = Owned<Module, &Driver::cuModuleUnload>;
using OwnedGraph = Owned<Graph, &Driver::cuGraphDestroy>;
using OwnedGraphExec = Owned<GraphExec, &Driver::cuGraphExecDestroy>;

OwnedEvent make_event();

}  // namespace penstock::cuda
