// Data types, shapes and views of dense row-major tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "penstock/penstock.h"

namespace penstock {

// kCompute is the type in which a device computes and stores activations: f32 on the CPU backend, bf16 on CUDA.
enum class DType { kF32, kBF16, kF16, kU8, kI32, kI64, kU64, kCompute };

using Shape = std::vector<int64_t>;

size_t dtype_size(DType dtype);       // bytes; kCompute must have been resolved
const char* dtype_name(DType dtype);  // the plan's spelling: "f32", "compute", ...
std::optional<DType> dtype_from_name(std::string_view name);
penstock_dtype to_public(DType dtype);
std::optional<DType> from_public(penstock_dtype dtype);

std::string shape_text(const Shape& shape);  // "[2, 1560, 256]"

// Elements of a shape; nullopt for a negative dimension or more than 2^48 elements, which no device holds.
std::optional<int64_t> element_count(const Shape& shape);

// f32, bf16 or f16; not kCompute, which a backend resolves.
bool is_floating(DType dtype);

// Converts floating-point elements between f32, bf16 and f16 (round to nearest even); equal types are copied.
void convert_elements(DType from, const void* source, DType to, void* target, int64_t count);

struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;

  int64_t size() const {
    int64_t count = 1;
    for (int64_t dim : shape) count *= dim;
    return count;
  }
  size_t bytes() const { return static_cast<size_t>(size()) * dtype_size(dtype); }

  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

}  // namespace penstock
