#include "engine/cuda/ring_sizes.h"
#include "ops/latents_to_tensor/latents_to_tensor.h"

namespace penstock::ops {

void latents_to_tensor_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t pixels = args.dim("y") * args.dim("x"), channels = args.dim("C");
  cuda::Launch launch = launcher.kernel("latents_to_tensor", {{"HAS_STATISTICS", args.has("mean")}});
  for (const char* role : {"latents", "mean", "std", "y", "y_frame"}) launch.pointer(args.tensor(role));
  cuda::add_ring_sizes(launch, args, "y", "y_frame");
  launch.integer(pixels).integer(channels).integer(args.choice("clamp") == "tanh3");
  launch.run({cuda::ceil_div(pixels, launch.constant("BLOCK_P")), cuda::ceil_div(channels, launch.constant("BLOCK_C")),
              args.dim("F")});
}

}  // namespace penstock::ops
