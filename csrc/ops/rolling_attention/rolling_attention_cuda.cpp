#include "engine/cuda/launch.h"
#include "ops/rolling_attention/rolling_attention.h"

namespace penstock::ops {

void rolling_attention_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t queries = args.dim("N"), heads = args.dim("H");
  cuda::Launch launch = launcher.kernel("rolling_attention", {{"HEAD_DIM", args.dim("D")}});
  for (const char* role : {"q", "k_cache", "v_cache", "ring_length", "out"}) launch.pointer(args.tensor(role));
  launch.integer(queries).integer(args.dim("K") * args.dim("T")).integer(args.dim("T")).integer(heads);
  launch.run({cuda::ceil_div(queries, launch.constant("BLOCK_M")), heads, args.dim("S")});
}

}  // namespace penstock::ops
