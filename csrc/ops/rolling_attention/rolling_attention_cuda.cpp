#include "engine/cuda/implementation.h"
#include "engine/cuda/launch.h"
#include "engine/error.h"
#include "ops/rolling_attention/choice.h"
#include "ops/rolling_attention/partial_results.h"
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

}  // namespace

void rolling_attention_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t dim = args.dim("D"), programs = launcher.multiprocessors();
  const bool for_hopper = is_for_hopper(args, launcher);
  cuda::Launch launch = launcher.kernel(for_hopper ? kHopperKernel : "rolling_attention", {{"HEAD_DIM", dim}});
  const attention::Tiles tiles{args.dim("S"),
                               args.dim("N"),
                               args.dim("H"),
                               args.dim("K"),
                               args.dim("T"),
                               launch.constant("BLOCK_M"),
                               launch.constant("BLOCK_N")};
  attention::check_units(tiles, args.contract->name);
  const attention::Partial partial = attention::find_partial(launcher, programs, tiles.block_m, dim);
  add_tensors(launch, args, for_hopper);
  for (const char* role : {"ring_length", "out"}) launch.pointer(args.tensor(role));
  launch.pointer(partial.weighted).pointer(partial.stats);
  launch.integer(tiles.slots).integer(tiles.queries).integer(tiles.frames * tiles.frame_tokens);
  launch.integer(tiles.frame_tokens).integer(tiles.heads);
  launch.run({programs});
  attention::merge(launcher, tiles, partial, args.tensor("ring_length"), args.tensor("out"), programs, dim);
}

}  // namespace penstock::ops
