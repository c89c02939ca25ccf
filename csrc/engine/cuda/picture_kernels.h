// Pictures in device memory, to and from the engine's RGB8, by kernels/packed_picture.py and kernels/nv12_picture.py.
#pragma once

#include "engine/cuda/kernel_library.h"
#include "engine/picture.h"

namespace penstock::cuda {

// What to_rgb and from_rgb of picture.h do, in the order of the picture's own stream; rgb is [height, width, 3].
void convert_to_rgb(KernelLibrary& kernels, const Picture& picture, Address rgb);
void convert_from_rgb(KernelLibrary& kernels, Address rgb, const Picture& picture);

}  // namespace penstock::cuda
