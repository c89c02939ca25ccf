#include "engine/cuda/launch.h"
#include "ops/cache_write/cache_write.h"

namespace penstock::ops {

void cache_write_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t frames = args.dim("F"), frame_elements = args.dim("T") * args.dim("H") * args.dim("D");
  cuda::Launch launch = launcher.kernel("cache_write");
  for (const char* role : {"k", "v", "ring_write", "k_cache", "v_cache"}) launch.pointer(args.tensor(role));
  launch.integer(frames).integer(args.dim("K")).integer(frame_elements);
  launch.run({cuda::ceil_div(frames * frame_elements, launch.constant("BLOCK")), args.dim("S")});
}

}  // namespace penstock::ops
