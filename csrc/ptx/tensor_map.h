// Tensors in global memory as TMA sees them.
#pragma once

#include <cstdint>

namespace penstock {

// Opaque, written by cuTensorMapEncodeTiled; a kernel parameter by value.
struct alignas(64) TensorMap {
  uint64_t words[16];
};

// What it is made from: a tensor of bf16 in rank 4, the fastest dimension first, and the box that one copy takes of it.
// Rows of a box have 128 or 64 bytes, by which it is swizzled (swizzle.h, swizzle_64.h).
struct TiledTensor {
  const void* address;
  uint64_t size[4];
  uint64_t stride[3];  // bytes from one element of the dimensions 1 to 3 to the next
  uint32_t box[4];
  uint32_t step[4] = {1, 1, 1, 1};  // from one element of the box to the next, in elements of the tensor
};

}  // namespace penstock
