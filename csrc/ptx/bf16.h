// bf16 in pairs, the first in the low half of a register.
#pragma once

#include <cstdint>
#include <cstring>

#include "ptx/host_device.h"

namespace penstock::ptx {

// The first and the second of a pair as floats: a bf16 is the upper half of one.
PENSTOCK_BOTH inline void unpack_bf16(uint32_t pair, float& first, float& second) {
  const uint32_t low = pair << 16, high = pair & 0xffff0000u;
  memcpy(&first, &low, sizeof low);
  memcpy(&second, &high, sizeof high);
}

}  // namespace penstock::ptx
