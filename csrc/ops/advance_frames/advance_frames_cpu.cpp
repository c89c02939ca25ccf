#include "ops/advance_frames/advance_frames.h"

#include <limits>

#include "engine/error.h"

namespace penstock::ops {

void advance_frames_cpu(const OpArgs& args, ThreadPool&) {
  int64_t& frame = args.data<int64_t>("frame")[0];
  const int64_t count = args.integer("count"), highest = std::numeric_limits<int64_t>::max() - count;
  if (frame < 0 || frame > highest)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "advance_frames: frame is ", frame, ", must be from 0 to ", highest);
  frame += count;
}

}  // namespace penstock::ops
