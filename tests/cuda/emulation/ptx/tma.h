// csrc/ptx/tma.h, emulated: a box of bf16 in rank 4, swizzled by the bytes of its rows (PTX ISA, "Swizzling Modes":
// with rows of 128 bytes, of each 1024 row r keeps its 16-byte piece c at c xor r; with rows of 64, of each 512 bytes
// two rows share 128, and piece c of the first and of the second four is at c xor the number of the 128 bytes).
#pragma once

#include "ptx/mbarrier.h"
#include "ptx/tensor_map.h"

namespace penstock::ptx {

inline void copy_box(unsigned char* shared, const TiledTensor& tensor, const int (&first)[4]) {
  uint32_t offset = emulation::shared_offset(shared);
  emulation::require(offset % 128 == 0, "TMA to an address that is not a multiple of 128");
  const uint32_t pieces = 2 * tensor.box[0] / 16;
  emulation::require(pieces == 8 || pieces == 4, "a box whose rows have neither 128 nor 64 bytes");
  uint32_t i[4];
  for (i[3] = 0; i[3] < tensor.box[3]; ++i[3])
    for (i[2] = 0; i[2] < tensor.box[2]; ++i[2])
      for (i[1] = 0; i[1] < tensor.box[1]; ++i[1])
        for (i[0] = 0; i[0] < tensor.box[0]; ++i[0], offset += 2) {
          const auto* source = static_cast<const unsigned char*>(tensor.address);
          bool is_inside = true;
          for (int d = 0; d < 4; ++d) {
            const int64_t at = first[d] + static_cast<int64_t>(i[d]) * tensor.step[d];
            is_inside = is_inside && at >= 0 && at < static_cast<int64_t>(tensor.size[d]);
            source += at * static_cast<int64_t>(d == 0 ? 2 : tensor.stride[d - 1]);
          }
          const uint32_t place = offset ^ offset / 128 % pieces * 16;
          unsigned char* target = emulation::shared_pointer(place);
          if (is_inside)
            std::memcpy(target, source, 2);
          else
            std::memset(target, 0, 2);
        }
}

inline void load_box(void* shared, const TensorMap& map, Barrier& barrier, int c0, int c1, int c2, int c3) {
  const TiledTensor tensor = *reinterpret_cast<const TiledTensor*>(map.words[0]);
  const uint32_t bytes = 2 * tensor.box[0] * tensor.box[1] * tensor.box[2] * tensor.box[3];
  auto* target = static_cast<unsigned char*>(shared);
  std::memset(target, 0xff, bytes);
  emulation::defer([=, &barrier] {
    copy_box(target, tensor, {c0, c1, c2, c3});
    complete(barrier, bytes);
  });
}

}  // namespace penstock::ptx
