// The kernel that sink_refresh and ring_queue share: how much a new frame resembles the sinks
// (kernels/sink_similarity.py).
#pragma once

#include "engine/cuda/launch.h"

namespace penstock::cuda {

struct SinkProducts {
  const void* products = nullptr;  // in the launcher's workspace
  int64_t column_blocks = 0;
};

// Launches it for the roles k, v, k_cache and v_cache of an op. `seen` is the role that says how full the cache is:
// local_end of ring_queue, or row_chunk of sink_refresh, whose first chunk has `first_frames` frames.
SinkProducts launch_sink_products(const OpArgs& args, Launcher& launcher, const char* seen, int64_t first_frames);

}  // namespace penstock::cuda
