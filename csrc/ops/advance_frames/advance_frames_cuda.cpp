#include "engine/cuda/launch.h"
#include "ops/advance_frames/advance_frames.h"

namespace penstock::ops {

void advance_frames_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  launcher.kernel("advance_frames").pointer(args.tensor("frame")).integer(args.integer("count")).run({});
}

}  // namespace penstock::ops
