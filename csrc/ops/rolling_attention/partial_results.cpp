#include "ops/rolling_attention/partial_results.h"

#include "engine/error.h"

namespace penstock::attention {

void check_units(const Tiles& tiles, const char* op) {
  const int64_t count = tiles.slots * tiles.heads * cuda::ceil_div(tiles.queries, tiles.block_m);
  const int64_t blocks = cuda::ceil_div(tiles.frames * tiles.frame_tokens, tiles.block_n);
  if (count > INT32_MAX / blocks)
    fail(PENSTOCK_ERR_UNSUPPORTED, op, ": ", count, " tiles of queries over ", blocks,
         " blocks of keys are too many for a CUDA device");
}

Partial find_partial(const cuda::Launcher& launcher, int64_t programs, int64_t block_m, int64_t dim) {
  const auto rows = static_cast<size_t>(2 * programs * block_m), columns = static_cast<size_t>(dim);
  auto* begin = static_cast<float*>(launcher.workspace(rows * (columns + 2) * sizeof(float)));
  return {begin, begin + rows * columns};
}

void merge(cuda::Launcher& launcher, const Tiles& tiles, const Partial& partial, const TensorView& ring_length,
           const TensorView& out, int64_t programs, int64_t dim) {
  const cuda::Numbers tile{{"HEAD_DIM", dim}, {"BLOCK_M", tiles.block_m}, {"BLOCK_N", tiles.block_n}};
  cuda::Launch launch = launcher.kernel("merge_attention", tile);
  launch.pointer(partial.weighted).pointer(partial.stats).pointer(ring_length).pointer(out);
  launch.integer(tiles.slots).integer(tiles.queries).integer(tiles.frames * tiles.frame_tokens);
  launch.integer(tiles.frame_tokens).integer(tiles.heads).integer(programs);
  const int64_t query_tiles = cuda::ceil_div(tiles.queries, tiles.block_m);
  launch.run({tiles.block_m / launch.constant("ROWS") * query_tiles, tiles.heads, tiles.slots});
}

}  // namespace penstock::attention
