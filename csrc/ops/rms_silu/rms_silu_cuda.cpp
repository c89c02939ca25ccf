#include <algorithm>

#include "engine/cuda/float8_check.h"
#include "engine/cuda/ring_sizes.h"
#include "ops/rms_silu/rms_silu.h"

namespace penstock::ops {
namespace {

constexpr int64_t kLeastBlock = 16;  // channels of the smallest variant

}  // namespace

void rms_silu_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t pixels = args.dim("P") * args.dim("Q"), channels = args.dim("C");
  const int64_t block = std::max<int64_t>(cuda::next_power_of_2(channels), kLeastBlock);
  if (args.has("y_scale")) cuda::require_8_bit_floats(launcher, "fp8_vae");
  cuda::Launch launch = launcher.kernel("rms_silu", {{"BLOCK_C", block}, {"Y_CODES", args.has("y_scale")}});
  for (const char* role : {"x", "x_frame", "gamma", "y", "y_frame", "y_scale"}) launch.pointer(args.tensor(role));
  cuda::add_ring_sizes(launch, args, "x", "x_frame");
  cuda::add_ring_sizes(launch, args, "y", "y_frame");
  launch.integer(pixels).integer(channels).integer(args.choice("activation") == "silu");
  launch.run({cuda::ceil_div(pixels, launch.constant("BLOCK_P")), args.dim("T")});
}

}  // namespace penstock::ops
