// wgmma with 64, 96, 128 or 192 columns, whose operands both lie in shared memory in rows of 64 bytes
// (ptx/swizzle_64.h). Fragments are those of ptx/swizzle.h for any number of columns; fences, groups and waits are in
// ptx/wgmma.h.
#pragma once

#include <cstdint>

#include "ptx/wgmma.h"

namespace penstock::ptx {

// Fragments of 32, 48, 64 and 96 floats: the names of the operands, and the operands.
#define PENSTOCK_NAMES_32                                                \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PENSTOCK_NAMES_48 \
  PENSTOCK_NAMES_32       \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define PENSTOCK_NAMES_64 \
  PENSTOCK_NAMES_48       \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define PENSTOCK_NAMES_96                                                            \
  PENSTOCK_NAMES_64                                                                  \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define PENSTOCK_FLOATS_8(d, i)                                                                               \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define PENSTOCK_FLOATS_16(d, i) PENSTOCK_FLOATS_8(d, i), PENSTOCK_FLOATS_8(d, i + 8)
#define PENSTOCK_FLOATS_32(d) PENSTOCK_FLOATS_16(d, 0), PENSTOCK_FLOATS_16(d, 16)
#define PENSTOCK_FLOATS_48(d) PENSTOCK_FLOATS_32(d), PENSTOCK_FLOATS_16(d, 32)
#define PENSTOCK_FLOATS_64(d) PENSTOCK_FLOATS_48(d), PENSTOCK_FLOATS_16(d, 48)
#define PENSTOCK_FLOATS_96(d) PENSTOCK_FLOATS_64(d), PENSTOCK_FLOATS_16(d, 64), PENSTOCK_FLOATS_16(d, 80)

// d = a b^T, or d += a b^T: a [64, 16], b [columns, 16], descriptors of ptx/swizzle_64.h. One for each number of
// columns: the operands behind d are numbered.
#define PENSTOCK_WGMMA(count, columns, a_name, b_name, add_name)                                     \
  __device__ __forceinline__ void wgmma_narrow(float(&d)[count], uint64_t a, uint64_t b, bool add) { \
    asm volatile(                                                                                    \
        "{\n"                                                                                        \
        ".reg .pred add;\n"                                                                          \
        "setp.ne.b32 add, " add_name                                                                 \
        ", 0;\n"                                                                                     \
        "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" PENSTOCK_NAMES_##count    \
        "}, " a_name ", " b_name                                                                     \
        ", add, 1, 1, 0, 0;\n"                                                                       \
        "}\n"                                                                                        \
        : PENSTOCK_FLOATS_##count(d)                                                                 \
        : "l"(a), "l"(b), "r"(static_cast<int>(add)));                                               \
  }

PENSTOCK_WGMMA(32, 64, "%32", "%33", "%34")
PENSTOCK_WGMMA(48, 96, "%48", "%49", "%50")
PENSTOCK_WGMMA(64, 128, "%64", "%65", "%66")
PENSTOCK_WGMMA(96, 192, "%96", "%97", "%98")

#undef PENSTOCK_WGMMA
#undef PENSTOCK_FLOATS_96
#undef PENSTOCK_FLOATS_64
#undef PENSTOCK_FLOATS_48
#undef PENSTOCK_FLOATS_32
#undef PENSTOCK_FLOATS_16
#undef PENSTOCK_FLOATS_8
#undef PENSTOCK_NAMES_96
#undef PENSTOCK_NAMES_64
#undef PENSTOCK_NAMES_48
#undef PENSTOCK_NAMES_32

}  // namespace penstock::ptx
