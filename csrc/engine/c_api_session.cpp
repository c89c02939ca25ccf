// The C ABI: sessions.
#include "engine/c_api.h"

using namespace penstock;

extern "C" {

penstock_status penstock_session_memory_required(const penstock_engine* engine, uint64_t* bytes) {
  return guarded([&] { require(bytes, "bytes") = Session::memory_required(*require(engine, "engine").engine); });
}

penstock_status penstock_session_create(const penstock_engine* engine, penstock_session** session) {
  return guarded([&] {
    require(session, "session") = nullptr;
    *session = new penstock_session(require(engine, "engine").engine);
  });
}

penstock_status penstock_session_reset(penstock_session* session) {
  return guarded([&] {
    require(session, "session").session.reset();
    if (session->stream) session->stream->reset();
  });
}

penstock_status penstock_session_write(penstock_session* session, const char* name, const void* data, size_t size) {
  return guarded([&] {
    require(static_cast<const char*>(data), "data");
    require(session, "session").session.write(&require(name, "name"), data, size);
  });
}

penstock_status penstock_session_read(penstock_session* session, const char* name, void* data, size_t size) {
  return guarded([&] {
    require(static_cast<char*>(data), "data");
    require(session, "session").session.read(&require(name, "name"), data, size);
  });
}

penstock_status penstock_session_set_prompt(penstock_session* session, const penstock_tensor* embeddings) {
  return guarded([&] {
    const HostTensor tensor = read_tensor(embeddings);
    require(session, "session").session.set_prompt(tensor.dtype, tensor.shape, tensor.data);
  });
}

penstock_status penstock_session_run(penstock_session* session, const char* phase) {
  return guarded([&] { require(session, "session").session.run(&require(phase, "phase")); });
}

penstock_status penstock_session_push(penstock_session* session, const uint8_t* frames, int64_t count) {
  return guarded([&] {
    Stream& stream = require(session, "session").video();
    stream.push(count ? &require(frames, "frames") : frames, count);
  });
}

penstock_status penstock_session_generate(penstock_session* session, int64_t chunks) {
  return guarded([&] { require(session, "session").video().generate(chunks); });
}

penstock_status penstock_session_flush(penstock_session* session) {
  return guarded([&] { require(session, "session").video().flush(); });
}

penstock_status penstock_session_prepare(penstock_session* session, const penstock_engine* engine) {
  return guarded([&] { require(session, "session").session.make_ready(require(engine, "engine").engine); });
}

penstock_status penstock_session_switch(penstock_session* session, const penstock_engine* engine) {
  return guarded([&] { require(session, "session").video().go_on_with(require(engine, "engine").engine); });
}

penstock_status penstock_session_available(const penstock_session* session, int64_t* frames) {
  return guarded([&] {
    const auto& stream = require(session, "session").stream;
    require(frames, "frames") = stream ? stream->available() : 0;
  });
}

penstock_status penstock_session_pull(penstock_session* session, uint8_t* frames, int64_t capacity, int64_t* count) {
  return guarded([&] {
    Stream& stream = require(session, "session").video();
    require(count, "count") = 0;
    *count = stream.pull(capacity ? &require(frames, "frames") : frames, capacity);
  });
}

void penstock_session_stats_init(penstock_session_stats* stats) {
  if (!stats) return;
  *stats = penstock_session_stats{};
  stats->struct_size = sizeof *stats;
}

penstock_status penstock_session_get_stats(penstock_session* session, penstock_session_stats* stats) {
  return guarded([&] {
    const SessionStats& current = require(session, "session").session.stats();
    const StreamStats stream = session->stream ? session->stream->stats() : StreamStats{};
    write_struct(stats,
                 penstock_session_stats{0, 0, current.phases_run, current.graph_replays, current.last_phase_ms,
                                        stream.frames_in, stream.frames_out, stream.chunks},
                 "stats");
  });
}

void penstock_phase_stats_init(penstock_phase_stats* stats) {
  if (!stats) return;
  *stats = penstock_phase_stats{};
  stats->struct_size = sizeof *stats;
}

penstock_status penstock_session_get_phase_stats(penstock_session* session, const char* phase,
                                                 penstock_phase_stats* stats) {
  return guarded([&] {
    const PhaseStats record = require(session, "session").session.phase_stats(&require(phase, "phase"));
    write_struct(stats, penstock_phase_stats{0, 0, record.runs, record.last_ms, record.total_ms}, "stats");
  });
}

void penstock_session_free(penstock_session* session) { delete session; }

}  // extern "C"
