#include "engine/cuda/ring_sizes.h"
#include "ops/frames_to_tensor/frames_to_tensor.h"

namespace penstock::ops {

void frames_to_tensor_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t elements = args.dim("Y") * args.dim("X") * 3;
  cuda::Launch launch = launcher.kernel("frames_to_tensor");
  for (const char* role : {"frames", "y", "y_frame"}) launch.pointer(args.tensor(role));
  cuda::add_ring_sizes(launch, args, "y", "y_frame");
  launch.integer(elements).integer(args.choice("range") == "signed");
  launch.run({cuda::ceil_div(elements, launch.constant("BLOCK")), args.dim("T")});
}

}  // namespace penstock::ops
