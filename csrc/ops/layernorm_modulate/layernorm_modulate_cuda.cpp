#include "engine/cuda/launch.h"
#include "ops/layernorm_modulate/layernorm_modulate.h"

namespace penstock::ops {

void layernorm_modulate_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t rows = args.dim("M"), d = args.dim("d");
  cuda::Launch launch = launcher.kernel("layernorm_modulate", {{"BLOCK", cuda::next_power_of_2(d)}});
  for (const char* role : {"x", "shift", "scale", "y"}) launch.pointer(args.tensor(role));
  launch.integer(rows / args.dim("S")).integer(d).real(args.real("eps"));
  launch.run({rows});
}

}  // namespace penstock::ops
