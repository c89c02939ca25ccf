// What the precisions in 8-bit floats need of a device.
#pragma once

#include "engine/cuda/launch.h"
#include "engine/error.h"

namespace penstock::cuda {

// Fails on devices whose tensor cores have no 8-bit floats; `precision` is the setting that asks for them.
inline void require_8_bit_floats(const Launcher& launcher, const char* precision) {
  constexpr int kFirst = 89;
  const int architecture = launcher.architecture();
  if (architecture < kFirst)
    fail(PENSTOCK_ERR_UNSUPPORTED, "precision ", precision,
         " needs a GPU of compute capability 8.9 or later, this one has ", architecture / 10, ".", architecture % 10);
}

}  // namespace penstock::cuda
