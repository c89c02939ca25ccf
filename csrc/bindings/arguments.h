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

// Frames uint8 [n, height, width, 3] in device memory; strides in bytes. Somebody else keeps the memory.
struct DeviceFrames {
  uint64_t address;
  std::vector<int64_t> shape;
  int64_t frame_stride;
  int64_t row_stride;
  uint64_t cuda_stream;  // in whose order they are read
};

// The frames of an array uint8 [n, height, width, 3], contiguous on the host or on the device, one by one as the C ABI
// takes them.
class FrameArray {
 public:
  FrameArray(py::buffer_info info, size_t count) : info_(std::move(info)) {
    set_shape({info_.shape.begin(), info_.shape.end()}, info_.itemsize, count);
    first_ = static_cast<uint8_t*>(info_.ptr);
    stride_ = int64_t{3} * frame_.height * frame_.width;
  }
  FrameArray(const DeviceFrames& frames, size_t count) {
    set_shape(frames.shape, 1, count);
    first_ = reinterpret_cast<uint8_t*>(frames.address);
    stride_ = frames.frame_stride;
    frame_.strides[0] = frames.row_stride;
    frame_.memory = PENSTOCK_MEMORY_CUDA;
    frame_.cuda_stream = reinterpret_cast<void*>(frames.cuda_stream);
  }
  penstock_frame* at(size_t index, int64_t timestamp) {
    frame_.planes[0] = first_ + static_cast<int64_t>(index) * stride_;
    frame_.timestamp = timestamp;
    return &frame_;
  }

 private:
  void set_shape(const std::vector<int64_t>& shape, ssize_t item_bytes, size_t count) {
    if (shape.size() != 4 || item_bytes != 1 || shape[3] != 3 || shape[0] != static_cast<int64_t>(count))
      throw StatusError{PENSTOCK_ERR_INVALID_ARGUMENT, "frames: expected uint8 [n, height, width, 3] and n timestamps"};
    penstock_frame_init(&frame_);
    frame_.height = static_cast<int32_t>(shape[1]);
    frame_.width = static_cast<int32_t>(shape[2]);
  }

  py::buffer_info info_;
  penstock_frame frame_;
  uint8_t* first_ = nullptr;
  int64_t stride_ = 0;  // bytes from a frame to the next
};
