// Rings of frames as kernels take them (kernels/frame_ring.py): the pointer, the counter, and two sizes.
#pragma once

#include "engine/cuda/launch.h"

namespace penstock::cuda {

// Frames that the tensor holds, and whether it is a ring. A plain tensor's counter is null, and is not read.
inline void add_ring_sizes(Launch& launch, const OpArgs& args, const char* tensor, const char* counter) {
  const TensorView& frames = args.tensor(tensor);
  launch.integer(frames.data ? frames.shape[0] : 1).integer(args.has(counter));
}

}  // namespace penstock::cuda
