#include "engine/cuda/launch.h"
#include "ops/patchify/patchify.h"

namespace penstock::ops {

void patchify_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t elements = args.tensor("x").size();
  cuda::Launch launch = launcher.kernel("patchify");
  launch.pointer(args.tensor("x")).pointer(args.tensor("tokens"));
  launch.integer(elements).integer(args.dim("C")).integer(args.dim("h")).integer(args.dim("w"));
  launch.run({cuda::ceil_div(elements, launch.constant("BLOCK"))});
}

}  // namespace penstock::ops
