// The C ABI: status, system and engines.
#include "engine/c_api.h"

#include <unistd.h>

#include "engine/cuda/cuda_backend.h"
#include "engine/json.h"
#include "engine/system_info.h"

using namespace penstock;

namespace {

thread_local std::string last_error;
thread_local const char* last_error_text = "";

penstock_engine_params default_params() {
  return sized_struct<penstock_engine_params>();  // of zeros: device AUTO, all cores, silent, LATENCY, own memory
}

penstock_engine_params read_params(const penstock_engine_params* given) {
  return given ? read_struct(given, default_params(), "params") : default_params();
}

const Engine* weights_from(const penstock_engine_params& params) {
  return params.weights_from ? params.weights_from->engine.get() : nullptr;
}

Schedule schedule_of(const penstock_engine_params& params) {
  if (params.schedule == PENSTOCK_SCHEDULE_LATENCY) return Schedule::kLatency;
  if (params.schedule == PENSTOCK_SCHEDULE_THROUGHPUT) return Schedule::kThroughput;
  fail(PENSTOCK_ERR_INVALID_ARGUMENT, "unknown schedule ", static_cast<int>(params.schedule));
}

std::shared_ptr<Backend> make_backend(const penstock_engine_params& params) {
  if (params.device != PENSTOCK_DEVICE_CPU && params.device != PENSTOCK_DEVICE_AUTO &&
      params.device != PENSTOCK_DEVICE_CUDA)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "unknown device ", static_cast<int>(params.device));
  if (params.threads < 0 || params.threads > 4096)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "threads: expected 0 (all cores) to 4096, got ", params.threads);
  if (!params.allocate != !params.release)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "params: expected allocate and release, or neither, got one of them");
  if (const Engine* other = weights_from(params)) {
    const bool is_cuda = std::string_view(other->backend()->name()) == "cuda";
    if (params.device != PENSTOCK_DEVICE_AUTO && (params.device == PENSTOCK_DEVICE_CUDA) != is_cuda)
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "weights_from: that engine is on device ", other->backend()->name());
    if (params.allocate) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "params: an engine with weights_from has its allocator");
    return other->backend();
  }
  const HostAllocator allocator{params.allocate, params.release, params.allocator_user};
  const bool use_cuda =
      params.device == PENSTOCK_DEVICE_CUDA || (params.device == PENSTOCK_DEVICE_AUTO && !*system_info().cuda_problem);
  if (use_cuda) return make_cuda_backend(0, allocator);
  return make_cpu_backend(params.threads, allocator);
}

penstock_engine* make_handle(std::shared_ptr<Engine> engine, const penstock_engine_params& params,
                             std::shared_ptr<const PromptEmbeddings> prompt) {
  const Log log(params.log, params.log_user);
  log(PENSTOCK_LOG_INFO, "plan ", quoted(engine->plan().name), " on ", engine->backend()->name(),
      prompt ? ", with a prompt" : "");
  return new penstock_engine{std::move(engine), log, std::move(prompt)};
}

}  // namespace

penstock_status penstock::report(penstock_status status, const char* message) noexcept {
  try {
    last_error = message;
    last_error_text = last_error.c_str();
  } catch (...) {
    last_error_text = "out of memory";
  }
  return status;
}

HostTensor penstock::read_tensor(const penstock_tensor* given) {
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
    case PENSTOCK_ERR_BUSY: return "PENSTOCK_ERR_BUSY";
    case PENSTOCK_ERR_CANCELLED: return "PENSTOCK_ERR_CANCELLED";
    case PENSTOCK_NOT_READY: return "PENSTOCK_NOT_READY";
    case PENSTOCK_STATUS_MAX_ENUM: break;
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
  if (info) *info = sized_struct<penstock_system_info>();
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
    const penstock_engine_params values = read_params(params);
    auto opened =
        Engine::open(&require(directory, "directory"), make_backend(values), weights_from(values), schedule_of(values));
    opened->tune(directory, Log(values.log, values.log_user));
    const std::string prompt_path = std::string(directory) + "/prompt.safetensors";
    std::shared_ptr<const PromptEmbeddings> prompt;
    if (access(prompt_path.c_str(), F_OK) == 0)
      prompt = std::make_shared<PromptEmbeddings>(read_prompt_file(prompt_path));
    *engine = make_handle(std::move(opened), values, std::move(prompt));
  });
}

penstock_status penstock_engine_create(const char* plan_json, size_t size, const penstock_engine_params* params,
                                       penstock_engine** engine) {
  return guarded([&] {
    require(engine, "engine") = nullptr;
    const penstock_engine_params values = read_params(params);
    Plan plan = read_plan({&require(plan_json, "plan_json"), size}, "plan");
    auto created =
        std::make_shared<Engine>(std::move(plan), make_backend(values), weights_from(values), schedule_of(values));
    *engine = make_handle(std::move(created), values, nullptr);
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

void penstock_video_info_init(penstock_video_info* info) {
  if (info) *info = sized_struct<penstock_video_info>();
}

penstock_status penstock_engine_video_info(const penstock_engine* engine, penstock_video_info* info) {
  return guarded([&] {
    const VideoPlan video(require(engine, "engine").engine->plan());
    penstock_video_info value{};
    value.width = static_cast<int32_t>(video.width);
    value.height = static_cast<int32_t>(video.height);
    value.first_chunk_frames = static_cast<int32_t>(video.first_frames);
    value.chunk_frames = static_cast<int32_t>(video.next_frames);
    value.delay_chunks = static_cast<int32_t>(video.delay);
    value.takes_frames = video.encodes;
    write_struct(info, value, "info");
  });
}

void penstock_engine_free(penstock_engine* engine) { delete engine; }

}  // extern "C"
