#include "engine/tensor.h"

#include <array>
#include <cmath>
#include <cstring>

#include "engine/error.h"

namespace penstock {
namespace {

struct DTypeRow {
  DType dtype;
  const char* name;
  size_t size;
  penstock_dtype external;
};

constexpr std::array<DTypeRow, 7> kTable{{
    {DType::kF32, "f32", 4, PENSTOCK_F32},
    {DType::kBF16, "bf16", 2, PENSTOCK_BF16},
    {DType::kF16, "f16", 2, PENSTOCK_F16},
    {DType::kU8, "u8", 1, PENSTOCK_U8},
    {DType::kI32, "i32", 4, PENSTOCK_I32},
    {DType::kI64, "i64", 8, PENSTOCK_I64},
    {DType::kU64, "u64", 8, PENSTOCK_U64},
}};

const DTypeRow& row(DType dtype) {
  for (const DTypeRow& entry : kTable)
    if (entry.dtype == dtype) return entry;
  fail(PENSTOCK_ERR_INTERNAL, "data type 'compute' was not resolved for a device");
}

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint16_t bf16_from_f32(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);  // quiet NaN
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float f32_from_f16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 31) return float_of(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -magnitude : magnitude;
  }
  return float_of(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t f16_from_f32(float value) {
  const uint32_t bits = bits_of(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {  // subnormal: nearbyint rounds to even in the default mode
    const float steps = std::nearbyint(std::ldexp(float_of(magnitude), 24));
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(steps));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded >> 13) - (112u << 10)));
}

// Elements are read and written by memcpy, because the tensors of a safetensors file may lie at any address.
template <typename T>
T load_as(const void* source, int64_t i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(source) + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <typename T>
void store_as(void* target, int64_t i, T value) {
  std::memcpy(static_cast<char*>(target) + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
}

float load(DType dtype, const void* source, int64_t i) {
  if (dtype == DType::kF32) return load_as<float>(source, i);
  const auto bits = load_as<uint16_t>(source, i);
  return dtype == DType::kBF16 ? float_of(static_cast<uint32_t>(bits) << 16) : f32_from_f16(bits);
}

void store(DType dtype, void* target, int64_t i, float value) {
  if (dtype == DType::kF32)
    store_as(target, i, value);
  else
    store_as(target, i, dtype == DType::kBF16 ? bf16_from_f32(value) : f16_from_f32(value));
}

}  // namespace

size_t dtype_size(DType dtype) { return row(dtype).size; }

const char* dtype_name(DType dtype) { return dtype == DType::kCompute ? "compute" : row(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  if (name == "compute") return DType::kCompute;
  for (const DTypeRow& entry : kTable)
    if (name == entry.name) return entry.dtype;
  return std::nullopt;
}

penstock_dtype to_public(DType dtype) { return row(dtype).external; }

std::optional<DType> from_public(penstock_dtype dtype) {
  for (const DTypeRow& entry : kTable)
    if (entry.external == dtype) return entry.dtype;
  return std::nullopt;
}

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::optional<int64_t> element_count(const Shape& shape) {
  constexpr int64_t kLimit = int64_t{1} << 48;
  int64_t count = 1;
  for (int64_t dim : shape) {
    if (dim < 0 || (dim > 0 && count > kLimit / dim)) return std::nullopt;
    count *= dim;
  }
  return count;
}

bool is_floating(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16; }

void convert_elements(DType from, const void* source, DType to, void* target, int64_t count) {
  if (count == 0) return;  // memcpy must not be given the null pointer of an empty tensor
  if (from == to) {
    std::memcpy(target, source, static_cast<size_t>(count) * dtype_size(from));
    return;
  }
  if (!is_floating(from) || !is_floating(to))
    fail(PENSTOCK_ERR_UNSUPPORTED, "cannot convert ", dtype_name(from), " to ", dtype_name(to));
  if (from == DType::kBF16 && to == DType::kF32) {  // the common case: every published checkpoint on the CPU backend
    for (int64_t i = 0; i < count; ++i)
      store_as(target, i, float_of(static_cast<uint32_t>(load_as<uint16_t>(source, i)) << 16));
    return;
  }
  for (int64_t i = 0; i < count; ++i) store(to, target, i, load(from, source, i));
}

}  // namespace penstock
