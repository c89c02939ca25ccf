#include <algorithm>

#include "engine/cuda/launch.h"
#include "ops/spatial_attention/spatial_attention.h"

namespace penstock::ops {
namespace {

constexpr int64_t kLeastBlock = 16;  // channels of the smallest variant

}  // namespace

// Channels in one block, or in a block and one of half its size, which spares 384 channels a third of 512.
void spatial_attention_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t tokens = args.dim("N"), channels = args.dim("C");
  const int64_t power = std::max<int64_t>(cuda::next_power_of_2(channels), kLeastBlock);
  const bool half = power >= 64 && channels <= power / 4 * 3;
  cuda::Launch launch = launcher.kernel("spatial_attention", {{"BLOCK_C", half ? power / 2 : power}, {"HALF", half}});
  launch.pointer(args.tensor("qkv")).pointer(args.tensor("out")).integer(tokens).integer(channels);
  launch.run({cuda::ceil_div(tokens, launch.constant("BLOCK_M")), args.dim("T")});
}

}  // namespace penstock::ops
