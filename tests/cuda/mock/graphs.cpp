// Capture, and graphs that are launched.
#include <cstring>

#include "mock.h"

using namespace mock;

namespace {

constexpr double kGraphMs = 1.5;  // of a launch, beside its products

}  // namespace

MOCK int cuStreamBeginCapture_v2(void* stream, int mode) {
  LOCK;
  if (mode != 2) return problem("a capture in which no kernel could be loaded");
  state().capturing.insert(stream);
  state().recordings[stream] = {};
  return needs_context("cuStreamBeginCapture");
}
MOCK int cuStreamEndCapture(void* stream, void** graph) {
  LOCK;
  if (!state().capturing.erase(stream)) return kCaptureInvalid;
  create_handle("cuStreamEndCapture", graph);
  state().recordings[*graph] = state().recordings[stream];
  return kSuccess;
}
MOCK int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
  LOCK;
  create_handle("cuGraphInstantiate", exec);
  const Recording& recording = state().recordings[*exec] = state().recordings[graph];
  state().log += "[\"graph\", " + std::to_string(reinterpret_cast<unsigned long long>(*exec)) + ", [" +
                 recording.pointers + "]]\n";
  return kSuccess;
}
// What products write is not a number.
MOCK int cuGraphLaunch(void* exec, void* stream) {
  LOCK;
  record("launch", stream, exec);
  const Recording& recording = state().recordings[exec];
  if (recording.launches == 0) return problem("an empty graph is launched");
  state().clocks[stream] += kGraphMs;
  for (const Product& product : recording.products) {
    if (!on_device(product.target, product.bytes)) return problem("a product is written to memory that is no more");
    std::memset(reinterpret_cast<void*>(product.target), 0xff, product.bytes);
    state().clocks[stream] += product.ms;
  }
  return needs_context("cuGraphLaunch");
}
MOCK int cuGraphExecDestroy(void* exec) {
  LOCK;
  state().recordings.erase(exec);
  return destroy_handle("cuGraphExecDestroy", exec);
}
MOCK int cuGraphDestroy(void* graph) {
  LOCK;
  state().recordings.erase(graph);
  return destroy_handle("cuGraphDestroy", graph);
}
