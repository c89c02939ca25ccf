// wgmma: a warpgroup (4 warps, 128 threads) multiplies tiles, asynchronously. PTX ISA, "Asynchronous Warpgroup Level
// Matrix Instructions".
//
// Fragments, as the functions below state them: thread t of the warpgroup holds of D [64, 128] the element
// d[i] at (fragment_row(t, i), fragment_column(t, i)), and of A [64, 16] in registers the pair a[i] at columns
// 2 (t % 4) + 8 (i / 2) and the next, row 16 (t / 32) + t % 32 / 4 + 8 (i % 2). So the fragments of D for columns 16 k
// to 16 k + 15, d[8 k] to d[8 k + 7], rounded and paired in order, are those of A.
#pragma once

#include <cstdint>

#include "ptx/swizzle.h"
#include "ptx/warp.h"

namespace penstock::ptx {

// Before the first wgmma, and after each time that its registers were touched.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// What was started since the last commit becomes a group.
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most kPending groups, the latest, are not done.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// The compiler does not know that registers change while wgmma runs: it must not move their uses over this.
template <int kCount>
__device__ __forceinline__ void pin(float (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}
template <int kCount>
__device__ __forceinline__ void pin(uint32_t (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(registers[i])::"memory");
}

// A fragment of 64 floats as operands %0 to %63.
#define PENSTOCK_FRAGMENT_NAMES                                                      \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "          \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
#define PENSTOCK_FRAGMENT(d)                                                                                  \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), \
      "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]),  \
      "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), \
      "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), \
      "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), \
      "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), \
      "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), \
      "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])

// d = a b^T, or d += a b^T: a [64, 16] and b [128, 16] in shared memory, both with their 16 columns contiguous.
__device__ __forceinline__ void wgmma_shared(float (&d)[64], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred add;\n"
      "setp.ne.b32 add, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " PENSTOCK_FRAGMENT_NAMES
      "%64, %65, add, 1, 1, 0, 0;\n"
      "}\n"
      : PENSTOCK_FRAGMENT(d)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

// d = a b, or d += a b: a [64, 16] in registers; b [16, 128] in shared memory, each row's columns contiguous.
__device__ __forceinline__ void wgmma_registers(float (&d)[64], const uint32_t* a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred add;\n"
      "setp.ne.b32 add, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " PENSTOCK_FRAGMENT_NAMES
      "{%64, %65, %66, %67}, %68, add, 1, 1, 1;\n"
      "}\n"
      : PENSTOCK_FRAGMENT(d)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

#undef PENSTOCK_FRAGMENT
#undef PENSTOCK_FRAGMENT_NAMES

}  // namespace penstock::ptx
