#include "engine/cuda/implementation.h"
#include "engine/cuda/launch.h"
#include "engine/error.h"
#include "ops/rolling_attention/choice.h"
#include "ops/rolling_attention/rolling_attention.h"
#include "ops/rolling_attention/tiled_tensor.h"

namespace penstock::ops {
namespace {

constexpr const char* kHopperKernel = "rolling_attention_sm90";

bool is_for_hopper(const OpArgs& args, const cuda::Launcher& launcher) {
  const cuda::Numbers shape{{"HEAD_DIM", args.dim("D")}};
  const std::string wanted = cuda::wanted_implementation("rolling_attention");
  const attention::Choice choice =
      attention::choose({launcher.architecture(), args.dim("D"), launcher.has_kernel(kHopperKernel, shape), wanted});
  if (choice.implementation.empty())
    fail(PENSTOCK_ERR_UNSUPPORTED, "PENSTOCK_IMPL: rolling_attention=", wanted, ": ", std::string(choice.why));
  return choice.implementation == "cuda";
}

struct Partial {
  float* weighted;  // [2 programs, BLOCK_M, D]
  float* stats;     // [2 programs, 2, BLOCK_M]
};

Partial find_partial(const cuda::Launcher& launcher, int64_t programs, int64_t block_m, int64_t dim) {
  const auto rows = static_cast<size_t>(2 * programs * block_m), columns = static_cast<size_t>(dim);
  auto* begin = static_cast<float*>(launcher.workspace(rows * (columns + 2) * sizeof(float)));
  return {begin, begin + rows * columns};
}

void add_tensors(cuda::Launch& launch, const OpArgs& args, bool as_tiles) {
  const int64_t slots = args.dim("S"), heads = args.dim("H"), dim = args.dim("D");
  for (const char* role : {"q", "k_cache", "v_cache"}) {
    const int64_t rows = std::string_view(role) == "q" ? args.dim("N") : args.dim("K") * args.dim("T");
    if (as_tiles)
      launch.tensor_map(attention::tiled(args.tensor(role).data, slots, rows, heads, dim));
    else
      launch.pointer(args.tensor(role));
  }
}

void add_sizes(cuda::Launch& launch, const OpArgs& args) {
  launch.integer(args.dim("S")).integer(args.dim("N")).integer(args.dim("K") * args.dim("T"));
  launch.integer(args.dim("T")).integer(args.dim("H"));
}

// Work units are counted in 32 bits (deal.h).
void check_units(const OpArgs& args, int64_t block_m, int64_t block_n) {
  const int64_t tiles = args.dim("S") * args.dim("H") * cuda::ceil_div(args.dim("N"), block_m);
  const int64_t blocks = cuda::ceil_div(args.dim("K") * args.dim("T"), block_n);
  if (tiles > INT32_MAX / blocks)
    fail(PENSTOCK_ERR_UNSUPPORTED, "rolling_attention: ", tiles, " tiles of queries over ", blocks,
         " blocks of keys are too many for a CUDA device");
}

}  // namespace

void rolling_attention_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t dim = args.dim("D"), programs = launcher.multiprocessors();
  const bool for_hopper = is_for_hopper(args, launcher);
  cuda::Launch launch = launcher.kernel(for_hopper ? kHopperKernel : "rolling_attention", {{"HEAD_DIM", dim}});
  const int64_t block_m = launch.constant("BLOCK_M"), block_n = launch.constant("BLOCK_N");
  check_units(args, block_m, block_n);
  const Partial partial = find_partial(launcher, programs, block_m, dim);
  add_tensors(launch, args, for_hopper);
  for (const char* role : {"ring_length", "out"}) launch.pointer(args.tensor(role));
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
