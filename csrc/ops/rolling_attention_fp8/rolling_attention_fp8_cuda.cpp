#include "engine/cuda/float8_check.h"
#include "ops/rolling_attention/partial_results.h"
#include "ops/rolling_attention_fp8/rolling_attention_fp8.h"

namespace penstock::ops {

void rolling_attention_fp8_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  cuda::require_8_bit_floats(launcher, "fp8_attention");
  const int64_t dim = args.dim("D"), programs = launcher.multiprocessors();
  cuda::Launch launch = launcher.kernel("rolling_attention_fp8", {{"HEAD_DIM", dim}});
  const int64_t block_m = launch.constant("BLOCK_M"), block_n = launch.constant("BLOCK_N");
  // Blocks begin with a frame's first key: what is dealt are frames of whole blocks.
  const attention::Tiles tiles{
      args.dim("S"), args.dim("N"), args.dim("H"), args.dim("K"), cuda::ceil_div(args.dim("T"), block_n) * block_n,
      block_m,       block_n};
  attention::check_units(tiles, args.contract->name);
  const attention::Partial partial = attention::find_partial(launcher, programs, tiles.block_m, dim);
  for (const char* role : {"q", "k_codes", "v_codes", "k_mean", "k_scale", "v_scale", "ring_length", "out"})
    launch.pointer(args.tensor(role));
  launch.pointer(partial.weighted).pointer(partial.stats);
  launch.integer(tiles.slots).integer(tiles.queries).integer(tiles.frames).integer(args.dim("T")).integer(tiles.heads);
  launch.run({programs});
  attention::merge(launcher, tiles, partial, args.tensor("ring_length"), args.tensor("out"), programs, dim);
}

}  // namespace penstock::ops
