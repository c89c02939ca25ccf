// csrc/ptx/wgmma_narrow.h, emulated.
#pragma once

#include "ptx/swizzle_64.h"
#include "ptx/wgmma.h"

namespace penstock::ptx {

template <int kCount>
void wgmma_narrow(float (&d)[kCount], uint64_t a, uint64_t b, bool add) {
  start(d, kCount, a, nullptr, b, add);
}

}  // namespace penstock::ptx
