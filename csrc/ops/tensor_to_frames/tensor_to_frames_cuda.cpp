#include "engine/cuda/ring_sizes.h"
#include "ops/tensor_to_frames/tensor_to_frames.h"

namespace penstock::ops {

void tensor_to_frames_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t elements = args.dim("Y") * args.dim("X") * 3;
  cuda::Launch launch = launcher.kernel("tensor_to_frames");
  for (const char* role : {"x", "x_frame", "frames"}) launch.pointer(args.tensor(role));
  cuda::add_ring_sizes(launch, args, "x", "x_frame");
  launch.integer(elements).integer(args.dim("skip")).integer(args.choice("range") == "signed");
  launch.run({cuda::ceil_div(elements, launch.constant("BLOCK")), args.dim("F")});
}

}  // namespace penstock::ops
