#include "engine/cuda/launch.h"
#include "ops/rms_norm/rms_norm.h"

namespace penstock::ops {

void rms_norm_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t d = args.dim("d");
  cuda::Launch launch = launcher.kernel("rms_norm", {{"BLOCK", cuda::next_power_of_2(d)}});
  launch.pointer(args.tensor("x")).pointer(args.tensor("weight")).pointer(args.tensor("y"));
  launch.integer(d).real(args.real("eps"));
  launch.run({args.dim("M")});
}

}  // namespace penstock::ops
