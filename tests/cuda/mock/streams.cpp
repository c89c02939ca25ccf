// Streams and events: their order goes to the log. A stream's clock counts what its graphs would have taken.
#include "mock.h"

using namespace mock;

namespace {

constexpr int kInvalidHandle = 400;

}  // namespace

MOCK int cuStreamCreate(void** stream, unsigned) {
  LOCK;
  return create_handle("cuStreamCreate", stream);
}
MOCK int cuStreamDestroy_v2(void* stream) {
  LOCK;
  return destroy_handle("cuStreamDestroy", stream);
}
MOCK int cuStreamSynchronize(void* stream) {
  LOCK;
  record("synchronize stream", stream);
  if (state().capturing.count(stream)) return problem("a wait for a stream in capture");
  return needs_context("cuStreamSynchronize");
}
MOCK int cuStreamWaitEvent(void* stream, void* event, unsigned) {
  LOCK;
  record("wait", stream, event);
  return needs_context("cuStreamWaitEvent");
}
MOCK int cuEventCreate(void** event, unsigned) {
  LOCK;
  return create_handle("cuEventCreate", event);
}
MOCK int cuEventDestroy_v2(void* event) {
  LOCK;
  state().clocks.erase(event);
  return destroy_handle("cuEventDestroy", event);
}
MOCK int cuEventRecord(void* event, void* stream) {
  LOCK;
  record("record", stream, event);
  state().clocks[event] = state().clocks[stream];
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
MOCK int cuEventElapsedTime(float* ms, void* begin, void* end) {
  LOCK;
  const auto from = state().clocks.find(begin), to = state().clocks.find(end);
  if (from == state().clocks.end() || to == state().clocks.end()) return kInvalidHandle;  // never recorded
  *ms = static_cast<float>(to->second - from->second);
  return needs_context("cuEventElapsedTime");
}
