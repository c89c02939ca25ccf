// Named barriers: threads of a block that meet by a number, 1 to 15 (0 is __syncthreads). PTX ISA, "barrier".
#pragma once

namespace penstock::ptx {

// Waits until `threads` threads, this one included, have come to the barrier by either function. By whole warps.
template <int kThreads>
__device__ __forceinline__ void barrier_sync(int barrier) {
  asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(barrier), "n"(kThreads) : "memory");
}

// Comes to the barrier and goes on.
template <int kThreads>
__device__ __forceinline__ void barrier_arrive(int barrier) {
  asm volatile("barrier.cta.arrive.aligned %0, %1;" ::"r"(barrier), "n"(kThreads) : "memory");
}

}  // namespace penstock::ptx
