// The Python module penstock._engine: the C ABI as classes. Values pass as raw bytes; runtime/engine.py gives them
// types.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "device_array.h"

namespace {

void raise(const StatusError& error) {
  const py::object type = py::module_::import("penstock.runtime.errors").attr("PenstockError");
  PyErr_SetObject(type.ptr(), py::str(error.message).ptr());
}

class PyEngine {
 public:
  explicit PyEngine(penstock_engine* engine) : engine_(engine) {}
  ~PyEngine() { penstock_engine_free(engine_); }
  PyEngine(const PyEngine&) = delete;
  PyEngine& operator=(const PyEngine&) = delete;

  static penstock_engine_params params(const std::string& device, int threads, const PyEngine* weights_from,
                                       bool throughput) {
    penstock_engine_params values;
    penstock_engine_params_init(&values);
    values.device = device_of(device);
    values.threads = threads;
    values.weights_from = weights_from ? weights_from->get() : nullptr;
    values.schedule = throughput ? PENSTOCK_SCHEDULE_THROUGHPUT : PENSTOCK_SCHEDULE_LATENCY;
    return values;
  }

  static std::unique_ptr<PyEngine> open(const std::string& directory, const std::string& device, int threads,
                                        const PyEngine* weights_from, bool throughput) {
    const penstock_engine_params values = params(device, threads, weights_from, throughput);
    penstock_engine* engine = nullptr;
    {
      py::gil_scoped_release release;
      check(penstock_engine_open(directory.c_str(), &values, &engine));
    }
    return std::make_unique<PyEngine>(engine);
  }

  static std::unique_ptr<PyEngine> create(const std::string& plan, const std::string& device, int threads,
                                          const PyEngine* weights_from, bool throughput) {
    const penstock_engine_params values = params(device, threads, weights_from, throughput);
    penstock_engine* engine = nullptr;
    check(penstock_engine_create(plan.data(), plan.size(), &values, &engine));
    return std::make_unique<PyEngine>(engine);
  }

  void set_weight(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
                  const py::buffer& values) {
    const TensorArgument tensor(dtype, shape, values);
    py::gil_scoped_release release;
    check(penstock_engine_set_weight(engine_, name.c_str(), tensor.get()));
  }

  py::tuple tensor_info(const std::string& name) const {
    penstock_tensor_info info{};
    info.struct_size = sizeof info;
    check(penstock_engine_tensor_info(engine_, name.c_str(), &info));
    const std::vector<int64_t> shape(info.shape, info.shape + info.ndim);
    return py::make_tuple(info.kind, kDTypes[info.dtype], py::tuple(py::cast(shape)), info.size_bytes);
  }

  uint64_t session_memory_required() const {
    uint64_t bytes = 0;
    check(penstock_session_memory_required(engine_, &bytes));
    return bytes;
  }

  const penstock_engine* get() const { return engine_; }

 private:
  penstock_engine* engine_;
};

class PySession {
 public:
  PySession(const PyEngine& engine, const std::string& policy, int queue_frames, double deadline_ms, bool on_device) {
    penstock_session_params params;
    penstock_session_params_init(&params);
    params.queue_policy = policy_of(policy);
    params.queue_frames = queue_frames;
    params.deadline_ms = deadline_ms;
    params.output_memory = on_device ? PENSTOCK_MEMORY_CUDA : PENSTOCK_MEMORY_HOST;
    py::gil_scoped_release release;
    check(penstock_session_create(engine.get(), &params, &session_));
  }
  ~PySession() { penstock_session_free(session_); }
  PySession(const PySession&) = delete;
  PySession& operator=(const PySession&) = delete;

  void write(const std::string& name, const py::buffer& values) {
    const py::buffer_info info = values.request();
    py::gil_scoped_release release;
    check(penstock_session_write(session_, name.c_str(), info.ptr, static_cast<size_t>(info.size * info.itemsize)));
  }
  void read(const std::string& name, const py::buffer& values) const {
    const py::buffer_info info = values.request(/*writable=*/true);
    py::gil_scoped_release release;
    check(penstock_session_read(session_, name.c_str(), info.ptr, static_cast<size_t>(info.size * info.itemsize)));
  }
  void set_prompt(const std::string& dtype, const std::vector<int64_t>& shape, const py::buffer& values) {
    const TensorArgument tensor(dtype, shape, values);
    py::gil_scoped_release release;
    check(penstock_session_set_prompt(session_, tensor.get()));
  }
  void set_timesteps(const std::vector<int32_t>& timesteps) {
    py::gil_scoped_release release;
    check(penstock_session_set_timesteps(session_, timesteps.data(), timesteps.size()));
  }
  void run(const std::string& phase) {
    py::gil_scoped_release release;
    check(penstock_session_run(session_, phase.c_str()));
  }
  void reset() {
    py::gil_scoped_release release;
    check(penstock_session_reset(session_));
  }

  // frames: uint8 [n, height, width, 3], contiguous or DeviceFrames; a timestamp for each.
  void push(const py::object& frames, const std::vector<int64_t>& timestamps) {
    FrameArray array = array_of(frames, timestamps.size());
    py::gil_scoped_release release;
    for (size_t i = 0; i < timestamps.size(); ++i) check(penstock_session_push(session_, array.at(i, timestamps[i])));
  }
  // How many of them the queue took in the time given for each.
  size_t submit(const py::object& frames, const std::vector<int64_t>& timestamps, int64_t timeout_ms) {
    FrameArray array = array_of(frames, timestamps.size());
    py::gil_scoped_release release;
    for (size_t i = 0; i < timestamps.size(); ++i)
      if (!is_ready(penstock_session_submit(session_, array.at(i, timestamps[i]), timeout_ms))) return i;
    return timestamps.size();
  }
  void submit_end() { check(penstock_session_submit_end(session_)); }
  void cancel() { check(penstock_session_cancel(session_)); }
  // Finished frames; none where the time ran out.
  std::optional<int64_t> wait(int64_t timeout_ms) {
    int64_t frames = 0;
    py::gil_scoped_release release;
    if (!is_ready(penstock_session_wait(session_, timeout_ms, &frames))) return std::nullopt;
    return frames;
  }
  void generate(int64_t chunks) {
    py::gil_scoped_release release;
    check(penstock_session_generate(session_, chunks));
  }
  void flush() {
    py::gil_scoped_release release;
    check(penstock_session_flush(session_));
  }
  void prepare(const PyEngine& engine) {
    py::gil_scoped_release release;
    check(penstock_session_prepare(session_, engine.get()));
  }
  void switch_to(const PyEngine& engine) {
    py::gil_scoped_release release;
    check(penstock_session_switch(session_, engine.get()));
  }
  int64_t poll() const {
    int64_t frames = 0;
    check(penstock_session_poll(session_, &frames));
    return frames;
  }
  // Fills an array as above and returns the timestamps of the frames that there were.
  std::vector<int64_t> pull(const py::buffer& frames) {
    py::buffer_info info = frames.request(/*writable=*/true);
    const size_t count = info.ndim == 4 ? static_cast<size_t>(info.shape[0]) : 0;
    FrameArray array(std::move(info), count);
    std::vector<int64_t> timestamps;
    py::gil_scoped_release release;
    while (timestamps.size() < count) {
      penstock_frame* frame = array.at(timestamps.size(), 0);
      if (!is_ready(penstock_session_pull(session_, frame))) break;
      timestamps.push_back(frame->timestamp);
    }
    return timestamps;
  }

  // The next finished frame where it lies, on the device; none: nothing is finished.
  std::shared_ptr<LentPicture> take() {
    penstock_frame frame;
    penstock_frame_init(&frame);
    penstock_picture* picture = nullptr;
    if (!is_ready(penstock_session_take(session_, &frame, &picture))) return nullptr;
    return std::make_shared<LentPicture>(picture, frame);
  }

  py::dict phase_stats(const std::string& phase) const {
    penstock_phase_stats stats;
    penstock_phase_stats_init(&stats);
    check(penstock_session_get_phase_stats(session_, phase.c_str(), &stats));
    py::dict result;
    result["runs"] = stats.runs;
    result["last_ms"] = stats.last_ms;
    result["total_ms"] = stats.total_ms;
    return result;
  }

  py::dict stats() const {
    penstock_session_stats stats;
    penstock_session_stats_init(&stats);
    check(penstock_session_get_stats(session_, &stats));
    py::dict result;
    result["phases_run"] = stats.phases_run;
    result["graph_replays"] = stats.graph_replays;
    result["last_phase_ms"] = stats.last_phase_ms;
    result["frames_in"] = stats.frames_in;
    result["frames_out"] = stats.frames_out;
    result["chunks"] = stats.chunks;
    result["frames_dropped"] = stats.frames_dropped;
    result["outputs_dropped"] = stats.outputs_dropped;
    result["deadline_misses"] = stats.deadline_misses;
    result["frames_queued"] = stats.frames_queued;
    result["last_latency_ms"] = stats.last_latency_ms;
    result["max_latency_ms"] = stats.max_latency_ms;
    return result;
  }

 private:
  static FrameArray array_of(const py::object& frames, size_t count) {
    if (py::isinstance<DeviceFrames>(frames)) return {frames.cast<const DeviceFrames&>(), count};
    return {py::cast<py::buffer>(frames).request(), count};
  }

  penstock_session* session_ = nullptr;
};

py::dict query_system() {
  penstock_system_info info;
  penstock_system_info_init(&info);
  check(penstock_query_system(&info));
  py::dict result;
  result["has_cuda_backend"] = info.has_cuda_backend != 0;
  result["cuda_driver_version"] = info.cuda_driver_version;
  result["cuda_device_count"] = info.cuda_device_count;
  result["cuda_device_name"] = std::string(info.cuda_device_name);
  result["cuda_memory_bytes"] = info.cuda_memory_bytes;
  result["cuda_problem"] = std::string(info.cuda_problem);
  result["blas"] = std::string(info.blas);
  result["compiler"] = std::string(info.compiler);
  result["cpu_threads"] = info.cpu_threads;
  result["has_cuda_sources"] = info.has_cuda_sources != 0;
  return result;
}

}  // namespace

PYBIND11_MODULE(_engine, module) {
  module.doc() = "The penstock engine (C ABI)";
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const StatusError& error) {
      raise(error);
    }
  });
  module.def("version", [] { return std::string(penstock_version_string()); });
  module.def("query_system", &query_system);
  module.def("check_plan", [](const std::string& plan) { check(penstock_check_plan(plan.data(), plan.size())); });
  py::class_<PyEngine>(module, "Engine")
      .def_static("open", &PyEngine::open, py::arg("directory"), py::arg("device"), py::arg("threads"),
                  py::arg("weights_from").none(true), py::arg("throughput"))
      .def_static("create", &PyEngine::create, py::arg("plan"), py::arg("device"), py::arg("threads"),
                  py::arg("weights_from").none(true), py::arg("throughput"))
      .def("set_weight", &PyEngine::set_weight)
      .def("tensor_info", &PyEngine::tensor_info)
      .def("session_memory_required", &PyEngine::session_memory_required);
  py::class_<DeviceFrames>(module, "DeviceFrames")
      .def(py::init([](uint64_t address, std::vector<int64_t> shape, int64_t frame_stride, int64_t row_stride,
                       uint64_t cuda_stream) {
        return DeviceFrames{address, std::move(shape), frame_stride, row_stride, cuda_stream};
      }));
  py::class_<LentPicture, std::shared_ptr<LentPicture>>(module, "LentPicture")
      .def_property_readonly("address", &LentPicture::address)
      .def_property_readonly("timestamp", &LentPicture::timestamp)
      .def("order", &LentPicture::order)
      .def("to_dlpack", &LentPicture::to_dlpack);
  py::class_<dlpack::Taken>(module, "DlpackTensor")
      .def(py::init<py::object>())
      .def_property_readonly("address", &dlpack::Taken::address)
      .def_property_readonly("shape", &dlpack::Taken::shape)
      .def_property_readonly("strides", &dlpack::Taken::strides)
      .def_property_readonly("dtype", &dlpack::Taken::dtype);
  py::class_<PySession>(module, "Session")
      .def(py::init<const PyEngine&, const std::string&, int, double, bool>())
      .def("write", &PySession::write)
      .def("read", &PySession::read)
      .def("set_prompt", &PySession::set_prompt)
      .def("set_timesteps", &PySession::set_timesteps)
      .def("run", &PySession::run)
      .def("reset", &PySession::reset)
      .def("push", &PySession::push)
      .def("generate", &PySession::generate)
      .def("flush", &PySession::flush)
      .def("prepare", &PySession::prepare)
      .def("switch", &PySession::switch_to)
      .def("submit", &PySession::submit)
      .def("submit_end", &PySession::submit_end)
      .def("wait", &PySession::wait)
      .def("cancel", &PySession::cancel)
      .def("poll", &PySession::poll)
      .def("pull", &PySession::pull)
      .def("take", &PySession::take)
      .def("phase_stats", &PySession::phase_stats)
      .def("stats", &PySession::stats);
}
