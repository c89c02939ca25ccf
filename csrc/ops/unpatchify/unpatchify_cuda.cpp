#include "engine/cuda/launch.h"
#include "ops/unpatchify/unpatchify.h"

namespace penstock::ops {

void unpatchify_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t elements = args.tensor("x").size();
  cuda::Launch launch = launcher.kernel("unpatchify");
  launch.pointer(args.tensor("tokens")).pointer(args.tensor("x"));
  launch.integer(elements).integer(args.dim("C")).integer(args.dim("h")).integer(args.dim("w"));
  launch.run({cuda::ceil_div(elements, launch.constant("BLOCK"))});
}

}  // namespace penstock::ops
