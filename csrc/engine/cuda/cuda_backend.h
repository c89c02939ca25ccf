// The CUDA backend: bf16 on one device, one captured graph per phase.
#pragma once

#include <memory>

#include "engine/backend.h"

namespace penstock {

// `device`: its number. Throws PENSTOCK_ERR_UNSUPPORTED, saying why, where CUDA cannot be used.
std::shared_ptr<Backend> make_cuda_backend(int device, const HostAllocator& allocator = {});

}  // namespace penstock
