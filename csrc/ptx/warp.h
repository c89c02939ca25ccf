// What a kernel says of its threads, its shared memory and single registers.
#pragma once

#include <cstdint>

namespace penstock::ptx {

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// The block's dynamic shared memory, from its first multiple of 1024 bytes on, as swizzled tiles need it.
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ unsigned char memory[];
  return memory + (-shared_address(memory) & 1023);
}

// What this thread has written to shared memory is seen by TMA and wgmma that start later.
__device__ __forceinline__ void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Registers of each thread of this warpgroup; all its threads must say it.
template <int kRegisters>
__device__ __forceinline__ void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// 2^x, to 2 units in the last place; 0 for -infinity.
__device__ __forceinline__ float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two bf16 in one register, the first in the low half.
__device__ __forceinline__ uint32_t pack_bf16(float first, float second) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}

// The value of the lane whose number differs in these bits.
__device__ __forceinline__ float shuffle_xor(float value, int bits) {
  return __shfl_xor_sync(0xffffffffu, value, bits);
}

// A value that is the same in all lanes: so the compiler knows that no branch on it parts a warp.
__device__ __forceinline__ int uniform(int value) { return __shfl_sync(0xffffffffu, value, 0); }

}  // namespace penstock::ptx
