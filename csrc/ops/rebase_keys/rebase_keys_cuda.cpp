#include "engine/cuda/launch.h"
#include "ops/rebase_keys/rebase_keys.h"

namespace penstock::ops {
namespace {

constexpr int64_t kPrograms = 264;  // for each slot: they stride over the cache, and mostly find nothing to do

}  // namespace

void rebase_keys_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t slots = args.dim("S"), sinks = args.dim("Z");
  const bool has_sink_shift = args.has("sink_shift");
  cuda::Launch launch =
      launcher.kernel("rebase_keys", {{"HEAD_DIM", args.dim("D")}, {"HAS_SINK_SHIFT", has_sink_shift}});
  for (const char* role : {"k_cache", "rope", "rebase", "sink_shift"}) launch.pointer(args.tensor(role));
  launch.integer(args.dim("T") * args.dim("H")).integer(args.dim("K")).integer(sinks).integer(args.dim("P"));
  launch.run({kPrograms, slots});
  if (!has_sink_shift) return;
  cuda::Launch clear = launcher.kernel("clear_sink_shift");
  clear.pointer(args.tensor("rebase")).pointer(args.tensor("sink_shift")).integer(sinks);
  clear.run({slots});
}

}  // namespace penstock::ops
