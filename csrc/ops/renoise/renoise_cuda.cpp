#include "engine/cuda/launch.h"
#include "ops/renoise/renoise.h"

namespace penstock::ops {
namespace {

constexpr int64_t kDrawn = 4;  // numbers of one turn of Philox

}  // namespace

void renoise_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t slots = args.dim("S"), elements = args.tensor("x").size() / slots;
  const std::string& advance = args.choice("advance");
  const int64_t renoised = advance == "none" ? 0 : advance == "stay" ? slots : slots - 1;
  const bool has_noise = args.has("noise");
  cuda::Launch launch =
      launcher.kernel("renoise", {{"HAS_NOISE", has_noise}, {"HAS_NOISE_GIVEN", has_noise && args.has("noise_given")}});
  for (const char* role : {"x", "flow", "sigma", "next_sigma", "noise", "noise_given", "seed", "row_chunk", "x0"})
    launch.pointer(args.tensor(role));
  launch.integer(elements).integer(slots).integer(renoised).integer(advance == "shift");
  launch.integer(args.integer("first_step"));
  launch.run({cuda::ceil_div(elements, kDrawn * launch.constant("QUADS"))});
}

}  // namespace penstock::ops
