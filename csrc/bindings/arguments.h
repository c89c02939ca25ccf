// What the binding's classes take from Python: names as enums, buffers as the C ABI's tensors and frames.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <utility>
#include <vector>

#include "penstock/penstock.h"

namespace py = pybind11;

struct StatusError {
  penstock_status status;
  std::string message;
};

inline void check(penstock_status status) {
  if (status != PENSTOCK_OK) throw StatusError{status, penstock_last_error()};
}

constexpr const char* kDTypes[] = {"f32", "bf16", "f16", "u8", "i32", "i64", "u64"};

inline penstock_dtype dtype_of(const std::string& name) {
  for (int i = 0; i < 7; ++i)
    if (name == kDTypes[i]) return static_cast<penstock_dtype>(i);
  throw StatusError{PENSTOCK_ERR_INVALID_ARGUMENT, "unknown dtype '" + name + "'"};
}

inline penstock_device device_of(const std::string& name) {
  if (name == "auto") return PENSTOCK_DEVICE_AUTO;
  if (name == "cpu") return PENSTOCK_DEVICE_CPU;
  if (name == "cuda") return PENSTOCK_DEVICE_CUDA;
  throw StatusError{PENSTOCK_ERR_INVALID_ARGUMENT, "device: expected auto, cpu or cuda, got '" + name + "'"};
}

inline penstock_queue_policy policy_of(const std::string& name) {
  if (name == "block") return PENSTOCK_QUEUE_BLOCK;
  if (name == "drop_oldest") return PENSTOCK_QUEUE_DROP_OLDEST;
  if (name == "latest_wins") return PENSTOCK_QUEUE_LATEST_WINS;
  throw StatusError{PENSTOCK_ERR_INVALID_ARGUMENT,
                    "queue: expected block, drop_oldest or latest_wins, got '" + name + "'"};
}

// A contiguous buffer of `dtype` and `shape`; its length is checked, so that the engine never reads past it.
class TensorArgument {
 public:
  TensorArgument(const std::string& dtype, const std::vector<int64_t>& shape, const py::buffer& values)
      : info_(values.request()) {
    tensor_.struct_size = sizeof tensor_;
    tensor_.dtype = dtype_of(dtype);
    if (shape.size() > PENSTOCK_MAX_DIMS) throw StatusError{PENSTOCK_ERR_INVALID_ARGUMENT, "too many dimensions"};
    tensor_.ndim = static_cast<int32_t>(shape.size());
    constexpr int64_t kSizes[] = {4, 2, 2, 1, 4, 8, 8};
    int64_t bytes = kSizes[tensor_.dtype];
    for (size_t i = 0; i < shape.size(); ++i) bytes *= tensor_.shape[i] = shape[i];
    if (bytes != info_.size * info_.itemsize)
      throw StatusError{PENSTOCK_ERR_INVALID_ARGUMENT, "expected " + std::to_string(bytes) + " bytes, got " +
                                                           std::to_string(info_.size * info_.itemsize)};
    tensor_.data = info_.ptr;
  }
  const penstock_tensor* get() const { return &tensor_; }

 private:
  py::buffer_info info_;
  penstock_tensor tensor_{};
};

inline bool is_ready(penstock_status status) {
  if (status == PENSTOCK_NOT_READY) return false;
  check(status);
  return true;
}

// The frames of a contiguous array uint8 [n, height, width, 3], one by one as the C ABI takes them.
class FrameArray {
 public:
  FrameArray(py::buffer_info info, size_t count) : info_(std::move(info)) {
    if (info_.ndim != 4 || info_.itemsize != 1 || info_.shape[3] != 3 || info_.shape[0] != static_cast<ssize_t>(count))
      throw StatusError{PENSTOCK_ERR_INVALID_ARGUMENT, "frames: expected uint8 [n, height, width, 3] and n timestamps"};
    penstock_frame_init(&frame_);
    frame_.height = static_cast<int32_t>(info_.shape[1]);
    frame_.width = static_cast<int32_t>(info_.shape[2]);
  }
  penstock_frame* at(size_t index, int64_t timestamp) {
    const size_t bytes = static_cast<size_t>(frame_.height) * static_cast<size_t>(frame_.width) * 3;
    frame_.planes[0] = static_cast<uint8_t*>(info_.ptr) + index * bytes;
    frame_.timestamp = timestamp;
    return &frame_;
  }

 private:
  py::buffer_info info_;
  penstock_frame frame_;
};
