#include "engine/cuda/ring_sizes.h"
#include "ops/tensor_to_latents/tensor_to_latents.h"

namespace penstock::ops {

void tensor_to_latents_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t pixels = args.dim("y") * args.dim("x"), channels = args.dim("C");
  cuda::Launch launch = launcher.kernel("tensor_to_latents", {{"HAS_STATISTICS", args.has("mean")}});
  for (const char* role : {"x", "x_frame", "mean", "std", "latents"}) launch.pointer(args.tensor(role));
  cuda::add_ring_sizes(launch, args, "x", "x_frame");
  launch.integer(pixels).integer(channels);
  launch.run({cuda::ceil_div(pixels, launch.constant("BLOCK_P")), cuda::ceil_div(channels, launch.constant("BLOCK_C")),
              args.dim("F")});
}

}  // namespace penstock::ops
