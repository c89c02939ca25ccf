// Index arithmetic of tiles in shared memory and of wgmma's fragments, for the host and the device alike.
//
// A tile of bf16 is stored as columns of 64, each with rows of 128 bytes, and the 16-byte pieces of a row permuted: TMA
// writes it so (CU_TENSOR_MAP_SWIZZLE_128B) and wgmma reads it so. The permutation depends on the address alone, so a
// tile must begin at a multiple of 1024 bytes, 8 rows. PTX ISA, "Swizzling Modes" and "Matrix Descriptor Format".
#pragma once

#include <cstdint>

#include "ptx/host_device.h"

namespace penstock::ptx {

constexpr int kSwizzleBytes = 128;  // of a row
constexpr int kSwizzleRows = 8;     // after which the permutation repeats

// Where the byte lies that would lie at `address` without the permutation: the number of the 16-byte piece in its row
// is combined with the row's number.
PENSTOCK_BOTH constexpr uint32_t swizzled(uint32_t address) { return address ^ (address >> 3 & 0x70); }

// The descriptor of a swizzled operand that begins at this shared address. stride: bytes from 8 rows to the next 8;
// leading: bytes from 64 columns to the next 64, of an operand whose columns are contiguous across its N or M; not used
// otherwise.
PENSTOCK_BOTH constexpr uint64_t matrix_descriptor(uint32_t address, uint32_t leading, uint32_t stride) {
  constexpr uint64_t kSwizzle128 = 1;
  const auto field = [](uint32_t bytes) { return static_cast<uint64_t>(bytes >> 4 & 0x3fff); };
  return field(address) | field(leading) << 16 | field(stride) << 32 | kSwizzle128 << 62;
}

// Of D [64, 128] in 128 threads of 64 floats each: where thread t has its float i.
PENSTOCK_BOTH constexpr int fragment_row(int t, int i) { return t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8; }
PENSTOCK_BOTH constexpr int fragment_column(int t, int i) { return i / 4 * 8 + t % 4 * 2 + i % 2; }

}  // namespace penstock::ptx
