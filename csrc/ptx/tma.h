// TMA: one thread starts the copy of a box of a tensor into shared memory, and a barrier counts its bytes. What of the
// box lies outside of the tensor becomes zeros, and counts. PTX ISA, "cp.async.bulk.tensor".
#pragma once

#include <cstdint>

#include "ptx/mbarrier.h"
#include "ptx/tensor_map.h"

namespace penstock::ptx {

// Coordinates of the box's first element, the fastest dimension first.
__device__ __forceinline__ void load_box(void* shared, const TensorMap& map, Barrier& barrier, int c0, int c1, int c2,
                                         int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(&barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}

}  // namespace penstock::ptx
