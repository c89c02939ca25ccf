#include <algorithm>

#include "engine/cuda/launch.h"
#include "ops/time_embed/time_embed.h"

namespace penstock::ops {
namespace {

constexpr int64_t kMostSlots = 8;  // that one program works on

}  // namespace

// Three kernels with f32 [S, d] between them: the hidden layer, and silu(e).
void time_embed_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t slots = args.dim("S"), d = args.dim("d");
  const int64_t block_s = std::min(cuda::next_power_of_2(slots), kMostSlots);
  const int64_t by_slots = cuda::ceil_div(slots, block_s);
  float* hidden = static_cast<float*>(launcher.workspace(static_cast<size_t>(2 * slots * d) * sizeof(float)));
  float* activated = hidden + slots * d;

  cuda::Launch first = launcher.kernel("time_embed_hidden", {{"HALF", args.dim("Q") / 2}, {"BLOCK_S", block_s}});
  for (const char* role : {"timestep", "fc1_weight", "fc1_bias"}) first.pointer(args.tensor(role));
  first.pointer(hidden).integer(slots).integer(d);
  first.run({cuda::ceil_div(d, first.constant("BLOCK_N")), by_slots});

  cuda::Launch head = launcher.kernel("time_embed_head", {{"BLOCK_S", block_s}});
  head.pointer(hidden);
  for (const char* role : {"fc2_weight", "fc2_bias", "head_table"}) head.pointer(args.tensor(role));
  head.pointer(activated).pointer(args.tensor("head_modulation")).integer(slots).integer(d);
  head.run({cuda::ceil_div(d, head.constant("BLOCK_N")), by_slots});

  cuda::Launch blocks = launcher.kernel("time_embed_blocks", {{"BLOCK_S", block_s}});
  blocks.pointer(activated);
  for (const char* role : {"proj_weight", "proj_bias", "block_tables", "block_modulation"})
    blocks.pointer(args.tensor(role));
  blocks.integer(slots).integer(d).integer(args.dim("B"));
  blocks.run({cuda::ceil_div(6 * d, blocks.constant("BLOCK_N")), by_slots});
}

}  // namespace penstock::ops
