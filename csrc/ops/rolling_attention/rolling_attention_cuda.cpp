#include "engine/cuda/launch.h"
#include "ops/rolling_attention/rolling_attention.h"

namespace penstock::ops {
namespace {

struct Partial {
  float* weighted;  // [2 programs, BLOCK_M, D]
  float* stats;     // [2 programs, 2, BLOCK_M]
};

Partial find_partial(cuda::Launcher& launcher, int64_t programs, int64_t block_m, int64_t dim) {
  const auto rows = static_cast<size_t>(2 * programs * block_m);
  auto* begin = static_cast<float*>(launcher.workspace(rows * static_cast<size_t>(dim + 2) * sizeof(float)));
  return {begin, begin + rows * static_cast<size_t>(dim)};
}

void add_sizes(cuda::Launch& launch, const OpArgs& args) {
  launch.integer(args.dim("S")).integer(args.dim("N")).integer(args.dim("K") * args.dim("T"));
  launch.integer(args.dim("T")).integer(args.dim("H"));
}

}  // namespace

void rolling_attention_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t dim = args.dim("D"), programs = launcher.multiprocessors();
  cuda::Launch launch = launcher.kernel("rolling_attention", {{"HEAD_DIM", dim}});
  const int64_t block_m = launch.constant("BLOCK_M"), block_n = launch.constant("BLOCK_N");
  const Partial partial = find_partial(launcher, programs, block_m, dim);
  for (const char* role : {"q", "k_cache", "v_cache", "ring_length", "out"}) launch.pointer(args.tensor(role));
  launch.pointer(partial.weighted).pointer(partial.stats);
  add_sizes(launch, args);
  launch.run({programs});

  const cuda::Numbers tile{{"HEAD_DIM", dim}, {"BLOCK_M", block_m}, {"BLOCK_N", block_n}};
  cuda::Launch merge = launcher.kernel("merge_attention", tile);
  merge.pointer(partial.weighted).pointer(partial.stats);
  for (const char* role : {"ring_length", "out"}) merge.pointer(args.tensor(role));
  add_sizes(merge, args);
  merge.integer(programs);
  const int64_t query_tiles = cuda::ceil_div(args.dim("N"), block_m);
  merge.run({block_m / merge.constant("ROWS") * query_tiles, args.dim("H"), args.dim("S")});
}

}  // namespace penstock::ops
