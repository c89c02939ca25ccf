// The tensors of attention as TMA reads them: 128 rows of one head and slot at a time, in two halves of 64 columns.
#pragma once

#include "ptx/tensor_map.h"

namespace penstock::attention {

// [slots, rows, heads, dim] in boxes of 128 rows and 64 columns, which are the 128 bytes of a swizzled row. A box that
// reaches beyond a slot's rows gets zeros there, not the rows of the next slot.
inline TiledTensor tiled(const void* address, int64_t slots, int64_t rows, int64_t heads, int64_t dim) {
  const auto u64 = [](int64_t value) { return static_cast<uint64_t>(value); };
  return {address,
          {u64(dim), u64(heads), u64(rows), u64(slots)},
          {u64(2 * dim), u64(2 * dim * heads), u64(2 * dim * heads * rows)},
          {64, 1, 128, 1}};
}

}  // namespace penstock::attention
