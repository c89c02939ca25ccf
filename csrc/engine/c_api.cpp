// The C ABI over Engine and Session: argument checks, struct versions, exceptions to statuses.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "engine/cuda/cuda_backend.h"
#include "engine/engine.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "engine/system_info.h"
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

namespace {

using namespace penstock;

thread_local std::string last_error;
thread_local const char* last_error_text = "";

penstock_status report(penstock_status status, const char* message) noexcept {
  try {
    last_error = message;
    last_error_text = last_error.c_str();
  } catch (...) {
    last_error_text = "out of memory";
  }
  return status;
}

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

penstock_engine_params default_params() {
  return {sizeof(penstock_engine_params), PENSTOCK_DEVICE_AUTO, 0, nullptr, nullptr};
}

std::shared_ptr<Backend> make_backend(const penstock_engine_params* given) {
  const penstock_engine_params params = given ? read_struct(given, default_params(), "params") : default_params();
  if (params.device != PENSTOCK_DEVICE_CPU && params.device != PENSTOCK_DEVICE_AUTO &&
      params.device != PENSTOCK_DEVICE_CUDA)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "unknown device ", static_cast<int>(params.device));
  if (params.threads < 0 || params.threads > 4096)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "threads: expected 0 (all cores) to 4096, got ", params.threads);
  const bool use_cuda =
      params.device == PENSTOCK_DEVICE_CUDA || (params.device == PENSTOCK_DEVICE_AUTO && !*system_info().cuda_problem);
  std::shared_ptr<Backend> backend = use_cuda ? make_cuda_backend(0) : make_cpu_backend(params.threads);
  if (params.log) params.log(PENSTOCK_LOG_INFO, cat("penstock: backend ", backend->name()).c_str(), params.log_user);
  return backend;
}

struct HostTensor {
  DType dtype;
  Shape shape;
  const void* data;
};

HostTensor read_tensor(const penstock_tensor* given) {
  const penstock_tensor tensor = read_struct(given, penstock_tensor{}, "tensor");
  const auto dtype = from_public(tensor.dtype);
  if (!dtype) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "tensor: unknown dtype ", static_cast<int>(tensor.dtype));
  if (tensor.ndim < 0 || tensor.ndim > PENSTOCK_MAX_DIMS)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "tensor: expected 0 to ", PENSTOCK_MAX_DIMS, " dimensions, got ", tensor.ndim);
  Shape shape(tensor.shape, tensor.shape + tensor.ndim);
  const auto count = element_count(shape);
  if (!count) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "tensor: impossible shape ", shape_text(shape));
  if (*count > 0) require(static_cast<const char*>(tensor.data), "tensor.data");
  return {*dtype, std::move(shape), tensor.data};
}

}  // namespace

extern "C" {

const char* penstock_status_name(penstock_status status) {
  switch (status) {
    case PENSTOCK_OK: return "PENSTOCK_OK";
    case PENSTOCK_ERR_INVALID_ARGUMENT: return "PENSTOCK_ERR_INVALID_ARGUMENT";
    case PENSTOCK_ERR_BAD_FILE: return "PENSTOCK_ERR_BAD_FILE";
    case PENSTOCK_ERR_BAD_PLAN: return "PENSTOCK_ERR_BAD_PLAN";
    case PENSTOCK_ERR_BAD_WEIGHTS: return "PENSTOCK_ERR_BAD_WEIGHTS";
    case PENSTOCK_ERR_OUT_OF_MEMORY: return "PENSTOCK_ERR_OUT_OF_MEMORY";
    case PENSTOCK_ERR_UNSUPPORTED: return "PENSTOCK_ERR_UNSUPPORTED";
    case PENSTOCK_ERR_INTERNAL: return "PENSTOCK_ERR_INTERNAL";
    case PENSTOCK_ERR_DEVICE: return "PENSTOCK_ERR_DEVICE";
  }
  return "unknown penstock_status";
}

const char* penstock_last_error(void) { return last_error_text; }

uint32_t penstock_version(void) { return PENSTOCK_VERSION; }

#define PENSTOCK_TEXT_OF(x) #x
#define PENSTOCK_TEXT(x) PENSTOCK_TEXT_OF(x)

const char* penstock_version_string(void) {
  return PENSTOCK_TEXT(PENSTOCK_VERSION_MAJOR) "." PENSTOCK_TEXT(PENSTOCK_VERSION_MINOR) "." PENSTOCK_TEXT(
      PENSTOCK_VERSION_PATCH);
}

void penstock_system_info_init(penstock_system_info* info) {
  if (!info) return;
  *info = penstock_system_info{};
  info->struct_size = sizeof *info;
}

penstock_status penstock_query_system(penstock_system_info* info) {
  return guarded([&] { write_struct(info, system_info(), "info"); });
}

penstock_status penstock_check_plan(const char* plan_json, size_t size) {
  return guarded([&] { read_plan({&require(plan_json, "plan_json"), size}, "plan"); });
}

void penstock_engine_params_init(penstock_engine_params* params) {
  if (params) *params = default_params();
}

penstock_status penstock_engine_open(const char* directory, const penstock_engine_params* params,
                                     penstock_engine** engine) {
  return guarded([&] {
    require(engine, "engine") = nullptr;
    auto opened = Engine::open(&require(directory, "directory"), make_backend(params));
    *engine = new penstock_engine{std::move(opened)};
  });
}

penstock_status penstock_engine_create(const char* plan_json, size_t size, const penstock_engine_params* params,
                                       penstock_engine** engine) {
  return guarded([&] {
    require(engine, "engine") = nullptr;
    Plan plan = read_plan({&require(plan_json, "plan_json"), size}, "plan");
    *engine = new penstock_engine{std::make_shared<Engine>(std::move(plan), make_backend(params))};
  });
}

penstock_status penstock_engine_set_weight(penstock_engine* engine, const char* name, const penstock_tensor* value) {
  return guarded([&] {
    if (require(engine, "engine").engine.use_count() > 1)
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "weights cannot change while sessions use the engine");
    const HostTensor tensor = read_tensor(value);
    engine->engine->set_weight(&require(name, "name"), tensor.dtype, tensor.shape, tensor.data);
  });
}

penstock_status penstock_engine_tensor_info(const penstock_engine* engine, const char* name,
                                            penstock_tensor_info* info) {
  return guarded([&] {
    const Engine& owner = *require(engine, "engine").engine;
    const int index = owner.plan().find(&require(name, "name"));
    if (index < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "the plan has no tensor ", quoted(name));
    const PlanTensor& tensor = owner.plan().tensors[index];
    penstock_tensor_info value{};
    value.dtype = to_public(owner.resolve(tensor.dtype));
    value.ndim = static_cast<int32_t>(tensor.shape.size());
    std::copy(tensor.shape.begin(), tensor.shape.end(), value.shape);
    value.size_bytes = owner.tensor_bytes(tensor);
    value.kind = kind_name(tensor.kind);
    write_struct(info, value, "info");
  });
}

void penstock_engine_free(penstock_engine* engine) { delete engine; }

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
    const PhaseStats& record = require(session, "session").session.phase_stats(&require(phase, "phase"));
    write_struct(stats, penstock_phase_stats{0, 0, record.runs, record.last_ms, record.total_ms}, "stats");
  });
}

void penstock_session_free(penstock_session* session) { delete session; }

}  // extern "C"
