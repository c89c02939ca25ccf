#include "engine/cuda/launch.h"
#include "ops/ring_advance/ring_advance.h"

namespace penstock::ops {

void ring_advance_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const bool has_ring = args.has("ring_write");
  cuda::Launch launch =
      launcher.kernel("ring_advance", {{"FIRST", args.choice("phase") == "first"}, {"HAS_RING", has_ring}});
  for (const char* role : {"chunk", "frame_position", "row_chunk", "ring_write", "ring_length", "rebase"})
    launch.pointer(args.tensor(role));
  for (const char* symbol : {"F", "G", "K", "Z", "R", "S"}) launch.integer(args.dim(symbol));
  launch.integer(has_ring ? args.dim("B") : 0);
  launch.run({});
}

}  // namespace penstock::ops
