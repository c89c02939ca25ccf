#include "engine/cuda/launch.h"
#include "ops/noise_mix/noise_mix.h"

namespace penstock::ops {
namespace {

constexpr int64_t kDrawn = 4;  // numbers of one turn of Philox

}  // namespace

void noise_mix_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t elements = args.tensor("x").size();
  const bool has_noise = args.has("noise");
  cuda::Launch launch = launcher.kernel(
      "noise_mix", {{"HAS_NOISE", has_noise}, {"HAS_NOISE_GIVEN", has_noise && args.has("noise_given")}});
  for (const char* role : {"latents", "noise", "noise_given", "noise_scale", "seed", "row_chunk", "x"})
    launch.pointer(args.tensor(role));
  launch.integer(elements);
  launch.run({cuda::ceil_div(elements, kDrawn * launch.constant("QUADS"))});
}

}  // namespace penstock::ops
