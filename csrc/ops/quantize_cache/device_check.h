// What the ops of precision fp8_attention need of a device.
#pragma once

#include "engine/cuda/launch.h"
#include "engine/error.h"

namespace penstock::ops {

// Fails on devices whose tensor cores have no 8-bit floats.
inline void require_8_bit_floats(const cuda::Launcher& launcher) {
  constexpr int kFirst = 89;
  const int architecture = launcher.architecture();
  if (architecture < kFirst)
    fail(PENSTOCK_ERR_UNSUPPORTED,
         "precision fp8_attention needs a GPU of compute capability 8.9 or later, this one has ", architecture / 10,
         ".", architecture % 10);
}

}  // namespace penstock::ops
