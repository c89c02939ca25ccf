#include "engine/cuda/launch.h"
#include "ops/gate_residual_layernorm/gate_residual_layernorm.h"

namespace penstock::ops {

void gate_residual_layernorm_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t rows = args.dim("M"), d = args.dim("d");
  const bool has_gate = args.has("gate"), affine = args.choice("norm") == "affine";
  cuda::Launch launch = launcher.kernel(
      "gate_residual_layernorm", {{"HAS_GATE", has_gate}, {"AFFINE", affine}, {"BLOCK", cuda::next_power_of_2(d)}});
  for (const char* role : {"x", "update", "gate", "scale", "shift", "y"}) launch.pointer(args.tensor(role));
  launch.integer(has_gate ? rows / args.dim("S") : 1).integer(rows / args.dim("R")).integer(d).real(args.real("eps"));
  launch.run({rows});
}

}  // namespace penstock::ops
