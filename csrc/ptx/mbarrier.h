// mbarrier: a phase completes when all arrivals and all bytes that were expected of it have come; then the next begins.
// PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier".
#pragma once

#include <cstdint>

#include "ptx/warp.h"

namespace penstock::ptx {

using Barrier = uint64_t;  // in shared memory

__device__ __forceinline__ void init(Barrier& barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(arrivals) : "memory");
}

// By the thread that initialised barriers, before __syncthreads: other threads and TMA then see them.
__device__ __forceinline__ void fence_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  fence_async();
}

__device__ __forceinline__ void arrive(Barrier& barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier)) : "memory");
}

// Arrives, and makes the phase wait for so many bytes of TMA.
__device__ __forceinline__ void arrive_expect(Barrier& barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)), "r"(bytes)
               : "memory");
}

// Returns when the phase of this parity is complete: 0 for the first. Of a new barrier, the phase before it counts as
// complete, so that waiting for parity 1 returns at once.
__device__ __forceinline__ void wait(Barrier& barrier, uint32_t parity) {
  uint32_t done = 0;
  while (!done)
    asm volatile(
        "{\n"
        ".reg .pred complete;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
        "selp.u32 %0, 1, 0, complete;\n"
        "}\n"
        : "=r"(done)
        : "r"(shared_address(&barrier)), "r"(parity)
        : "memory");
}

}  // namespace penstock::ptx
