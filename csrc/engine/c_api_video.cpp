// The C ABI: frames into and out of a session.
#include "engine/c_api.h"

using namespace penstock;

namespace {

penstock_frame read_frame(const penstock_frame* given) {
  return read_struct(given, sized_struct<penstock_frame>(), "frame");
}

// A call that can come to nothing within its time.
template <typename Body>
penstock_status guarded_wait(Body&& body) {
  bool ready = false;
  const penstock_status status = guarded([&] { ready = body(); });
  return status == PENSTOCK_OK && !ready ? PENSTOCK_NOT_READY : status;
}

}  // namespace

extern "C" {

void penstock_frame_init(penstock_frame* frame) {
  if (frame) *frame = sized_struct<penstock_frame>();
}

penstock_status penstock_session_push(penstock_session* session, const penstock_frame* frame) {
  return guarded([&] { require(session, "session").push(read_frame(frame)); });
}

penstock_status penstock_session_generate(penstock_session* session, int64_t chunks) {
  return guarded([&] { require(session, "session").generate(chunks); });
}

penstock_status penstock_session_flush(penstock_session* session) {
  return guarded([&] { require(session, "session").flush(); });
}

penstock_status penstock_session_prepare(penstock_session* session, const penstock_engine* engine) {
  return guarded([&] { require(session, "session").prepare(require(engine, "engine").engine); });
}

penstock_status penstock_session_switch(penstock_session* session, const penstock_engine* engine) {
  return guarded([&] { require(session, "session").go_on_with(require(engine, "engine").engine); });
}

penstock_status penstock_session_submit(penstock_session* session, const penstock_frame* frame, int64_t timeout_ms) {
  return guarded_wait([&] { return require(session, "session").submit(read_frame(frame), timeout_ms); });
}

penstock_status penstock_session_submit_end(penstock_session* session) {
  return guarded([&] { require(session, "session").submit_end(); });
}

penstock_status penstock_session_wait(penstock_session* session, int64_t timeout_ms, int64_t* frames) {
  return guarded_wait([&] { return require(session, "session").wait(timeout_ms, require(frames, "frames")); });
}

penstock_status penstock_session_poll(penstock_session* session, int64_t* frames) {
  return guarded([&] {
    require(frames, "frames") = 0;
    *frames = require(session, "session").available();
  });
}

penstock_status penstock_session_pull(penstock_session* session, penstock_frame* frame) {
  return guarded_wait([&] {
    penstock_frame picture = read_frame(frame);
    if (!require(session, "session").pull(picture)) return false;
    write_struct(frame, picture, "frame");
    return true;
  });
}

penstock_status penstock_session_take(penstock_session* session, penstock_frame* frame, penstock_picture** picture) {
  return guarded_wait([&] {
    require(picture, "picture") = nullptr;
    penstock_frame filled = read_frame(frame);
    auto taken = std::make_unique<penstock_picture>();
    if (!require(session, "session").take(filled, taken->frame)) return false;
    write_struct(frame, filled, "frame");
    *picture = taken.release();
    return true;
  });
}

penstock_status penstock_picture_order(penstock_picture* picture, void* cuda_stream) {
  return guarded([&] {
    if (const auto& device = require(picture, "picture").frame.device) device->lend(cuda_stream);
  });
}

void penstock_picture_free(penstock_picture* picture, void* cuda_stream) {
  if (!picture) return;
  guarded([&] {  // a failed device has no order to keep
    if (const auto& device = picture->frame.device) device->take_back(cuda_stream);
  });
  delete picture;
}

}  // extern "C"
