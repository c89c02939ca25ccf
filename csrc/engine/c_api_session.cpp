// The C ABI: sessions, their parameters and statistics. Frames are in c_api_video.cpp.
#include "engine/c_api.h"
#include "engine/json.h"
#include "engine/noise_schedule.h"

using namespace penstock;

namespace {

penstock_session_params default_params() {
  auto params = sized_struct<penstock_session_params>();
  params.queue_frames = FrameQueue::Settings{}.frames;
  return params;
}

LiveSettings read_settings(const penstock_session_params* given) {
  const penstock_session_params params = given ? read_struct(given, default_params(), "params") : default_params();
  if (params.queue_policy < PENSTOCK_QUEUE_BLOCK || params.queue_policy > PENSTOCK_QUEUE_LATEST_WINS)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "params: unknown queue_policy ", static_cast<int>(params.queue_policy));
  if (params.queue_frames < 1 || params.queue_frames > 4096)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "params: queue_frames: expected 1 to 4096, got ", params.queue_frames);
  if (!(params.deadline_ms >= 0))
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "params: deadline_ms: expected 0 or more, got ", params.deadline_ms);
  if (params.output_memory != PENSTOCK_MEMORY_HOST && params.output_memory != PENSTOCK_MEMORY_CUDA)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "params: unknown output_memory ", static_cast<int>(params.output_memory));
  return {{params.queue_policy, params.queue_frames}, params.deadline_ms, params.output_memory};
}

void set_prompt(Session& session, const PromptEmbeddings& prompt) {
  session.set_prompt(prompt.dtype, prompt.shape, prompt.data.data());
}

}  // namespace

extern "C" {

penstock_status penstock_session_memory_required(const penstock_engine* engine, uint64_t* bytes) {
  return guarded([&] { require(bytes, "bytes") = Session::memory_required(*require(engine, "engine").engine); });
}

void penstock_session_params_init(penstock_session_params* params) {
  if (params) *params = default_params();
}

penstock_status penstock_session_create(const penstock_engine* engine, const penstock_session_params* params,
                                        penstock_session** session) {
  return guarded([&] {
    require(session, "session") = nullptr;
    const penstock_engine& owner = require(engine, "engine");
    *session = new penstock_session(owner.engine, read_settings(params), owner.log, owner.prompt);
  });
}

penstock_status penstock_session_reset(penstock_session* session) {
  return guarded([&] { require(session, "session").reset(); });
}

penstock_status penstock_session_cancel(penstock_session* session) {
  return guarded([&] { require(session, "session").cancel(); });
}

penstock_status penstock_session_write(penstock_session* session, const char* name, const void* data, size_t size) {
  return guarded([&] {
    require(static_cast<const char*>(data), "data");
    require(name, "name");
    require(session, "session").alone([&](Session& inner) { inner.write(name, data, size); });
  });
}

penstock_status penstock_session_read(penstock_session* session, const char* name, void* data, size_t size) {
  return guarded([&] {
    require(static_cast<char*>(data), "data");
    require(name, "name");
    require(session, "session").alone([&](Session& inner) { inner.read(name, data, size); });
  });
}

penstock_status penstock_session_set_prompt(penstock_session* session, const penstock_tensor* embeddings) {
  return guarded([&] {
    const HostTensor tensor = read_tensor(embeddings);
    require(session, "session").alone([&](Session& inner) {
      inner.set_prompt(tensor.dtype, tensor.shape, tensor.data);
    });
  });
}

penstock_status penstock_session_set_prompt_file(penstock_session* session, const char* path) {
  return guarded([&] {
    const PromptEmbeddings prompt = read_prompt_file(&require(path, "path"));
    require(session, "session").alone([&](Session& inner) { set_prompt(inner, prompt); });
  });
}

penstock_status penstock_session_set_noise_scale(penstock_session* session, float noise_scale) {
  return guarded([&] {
    const Plan& plan = require(session, "session").engine().plan();
    if (plan.find("frames") < 0 || plan.find("noise_scale") < 0)
      fail(PENSTOCK_ERR_UNSUPPORTED, "noise_scale: this plan takes no frames to mix noise into");
    const float lowest = plan.find("noise_level") >= 0 ? 0.1f : 0.0f;  // the noise controller's own bound
    if (!(noise_scale >= lowest && noise_scale <= 1.0f))
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "noise_scale: expected ", lowest, " to 1, got ", noise_scale);
    session->alone([&](Session& inner) { inner.write("noise_scale", &noise_scale, sizeof noise_scale); });
  });
}

penstock_status penstock_session_set_seed(penstock_session* session, uint64_t seed) {
  return guarded(
      [&] { require(session, "session").alone([&](Session& inner) { inner.write("seed", &seed, sizeof seed); }); });
}

penstock_status penstock_session_set_timesteps(penstock_session* session, const int32_t* timesteps, size_t count) {
  return guarded([&] {
    require(timesteps, "timesteps");
    require(session, "session").alone([&](Session& inner) {
      set_timesteps(inner, timesteps, static_cast<int64_t>(std::min<size_t>(count, INT32_MAX)));
    });
  });
}

penstock_status penstock_session_run(penstock_session* session, const char* phase) {
  return guarded([&] {
    require(phase, "phase");
    require(session, "session").alone([&](Session& inner) { inner.run(phase); });
  });
}

void penstock_session_stats_init(penstock_session_stats* stats) {
  if (stats) *stats = sized_struct<penstock_session_stats>();
}

penstock_status penstock_session_get_stats(penstock_session* session, penstock_session_stats* stats) {
  return guarded([&] {
    const SessionStats phases = require(session, "session").session_stats();
    const auto [frames, queued] = session->stats();
    penstock_session_stats value{};
    value.phases_run = phases.phases_run;
    value.graph_replays = phases.graph_replays;
    value.last_phase_ms = phases.last_phase_ms;
    value.frames_in = frames.frames_in;
    value.frames_out = frames.frames_out;
    value.chunks = session->chunks();
    value.frames_dropped = frames.frames_dropped;
    value.outputs_dropped = frames.outputs_dropped;
    value.deadline_misses = frames.deadline_misses;
    value.frames_queued = queued;
    value.last_latency_ms = frames.last_latency_ms;
    value.max_latency_ms = frames.max_latency_ms;
    write_struct(stats, value, "stats");
  });
}

void penstock_phase_stats_init(penstock_phase_stats* stats) {
  if (stats) *stats = sized_struct<penstock_phase_stats>();
}

penstock_status penstock_session_get_phase_stats(penstock_session* session, const char* phase,
                                                 penstock_phase_stats* stats) {
  return guarded([&] {
    const std::map<std::string, PhaseStats> phases = require(session, "session").session_stats().phases;
    require(phase, "phase");
    const auto found = phases.find(phase);
    if (found == phases.end()) {
      std::string known;
      for (const auto& [name, record] : phases) known += (known.empty() ? "" : ", ") + name;
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "no phase ", quoted(phase), "; the session has: ", known);
    }
    const PhaseStats& record = found->second;
    write_struct(stats, penstock_phase_stats{0, 0, record.runs, record.last_ms, record.total_ms}, "stats");
  });
}

void penstock_session_free(penstock_session* session) { delete session; }

}  // extern "C"
