// Arrays in device memory that pass between Python libraries: frames that come in by address, DLPack's tensors read,
// and finished pictures given as such.
//
// DLPack (dmlc.github.io/dlpack): a capsule "dltensor" holds a pointer to a managed tensor; who takes it renames the
// capsule to "used_dltensor" and calls the tensor's deleter when done.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "arguments.h"

namespace dlpack {

constexpr int32_t kCuda = 2;
constexpr uint8_t kUnsigned = 1;

struct Device {
  int32_t type;
  int32_t id;
};
struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null: no gaps
  uint64_t byte_offset;
};
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

// What a capsule holds, from another library; its own until this goes.
class Taken {
 public:
  explicit Taken(const py::object& capsule) {
    managed_ = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    if (!managed_ || PyCapsule_SetName(capsule.ptr(), "used_dltensor") != 0) throw py::error_already_set();
  }
  ~Taken() {
    if (managed_->deleter) managed_->deleter(managed_);
  }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;

  uint64_t address() const { return reinterpret_cast<uint64_t>(tensor().data) + tensor().byte_offset; }
  std::vector<int64_t> shape() const { return {tensor().shape, tensor().shape + tensor().ndim}; }
  std::optional<std::vector<int64_t>> strides() const {
    if (!tensor().strides) return std::nullopt;
    return std::vector<int64_t>(tensor().strides, tensor().strides + tensor().ndim);
  }
  py::tuple dtype() const { return py::make_tuple(tensor().dtype.code, tensor().dtype.bits, tensor().dtype.lanes); }

 private:
  const Tensor& tensor() const { return managed_->tensor; }
  Managed* managed_;
};

}  // namespace dlpack

// A finished frame in device memory, for as long as anybody has it.
class LentPicture {
 public:
  LentPicture(penstock_picture* picture, const penstock_frame& frame) : picture_(picture), frame_(frame) {}
  ~LentPicture() { penstock_picture_free(picture_, frame_.cuda_stream); }
  LentPicture(const LentPicture&) = delete;
  LentPicture& operator=(const LentPicture&) = delete;

  uint64_t address() const { return reinterpret_cast<uint64_t>(frame_.planes[0]); }
  int64_t timestamp() const { return frame_.timestamp; }

  // Complete for this stream, in whose order it will be given back.
  void order(uint64_t cuda_stream) {
    void* stream = reinterpret_cast<void*>(cuda_stream);
    check(penstock_picture_order(picture_, stream));
    frame_.cuda_stream = stream;
  }

  // A capsule "dltensor" of u8 [height, width, 3], which keeps the picture.
  static py::capsule to_dlpack(const std::shared_ptr<LentPicture>& self, int device) {
    auto lease = std::make_unique<Lease>();
    lease->owner = self;
    lease->shape[0] = self->frame_.height;
    lease->shape[1] = self->frame_.width;
    lease->shape[2] = 3;
    lease->managed.tensor = {
        self->frame_.planes[0], {dlpack::kCuda, device}, 3, {dlpack::kUnsigned, 8, 1}, lease->shape, nullptr, 0};
    lease->managed.context = lease.get();
    lease->managed.deleter = [](dlpack::Managed* managed) { delete static_cast<Lease*>(managed->context); };
    py::capsule capsule(&lease->managed, "dltensor", [](PyObject* object) {
      if (!PyCapsule_IsValid(object, "dltensor")) return;  // it was taken
      auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(object, "dltensor"));
      managed->deleter(managed);
    });
    lease.release();
    return capsule;
  }

 private:
  struct Lease {
    dlpack::Managed managed;
    int64_t shape[3];
    std::shared_ptr<LentPicture> owner;
  };

  penstock_picture* picture_;
  penstock_frame frame_;
};
