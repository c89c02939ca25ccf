#include "engine/cuda/launch.h"
#include "ops/replicate_slots/replicate_slots.h"

namespace penstock::ops {

void replicate_slots_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t elements = args.dim("L") * args.dim("H") * args.dim("D");
  cuda::Launch launch = launcher.kernel("replicate_slots");
  launch.pointer(args.tensor("x")).integer(elements).integer(args.dim("S"));
  launch.run({cuda::ceil_div(elements, launch.constant("BLOCK"))});
}

}  // namespace penstock::ops
