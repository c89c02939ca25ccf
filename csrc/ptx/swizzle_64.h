// As swizzle.h, for tiles with rows of 64 bytes, 32 columns of bf16 (CU_TENSOR_MAP_SWIZZLE_64B): two rows share the 128
// bytes within which the 16-byte pieces are permuted, and the permutation repeats after 8 rows, 512 bytes. So 8 rows
// are read without conflicts, as with wider rows, and a tile may begin at every multiple of 8 rows.
#pragma once

#include <cstdint>

#include "ptx/host_device.h"

namespace penstock::ptx {

constexpr int kNarrowRowBytes = 64;
constexpr int kNarrowEightRows = 8 * kNarrowRowBytes;

// The descriptor of an operand at this shared address whose columns are those of K, its rows 64 bytes apart.
PENSTOCK_BOTH constexpr uint64_t narrow_descriptor(uint32_t address) {
  constexpr uint64_t kSwizzle64 = 2;
  return static_cast<uint64_t>(address >> 4 & 0x3fff) | static_cast<uint64_t>(kNarrowEightRows >> 4) << 32 |
         kSwizzle64 << 62;
}

}  // namespace penstock::ptx
