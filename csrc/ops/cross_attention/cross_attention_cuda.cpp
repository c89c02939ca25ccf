#include "engine/cuda/launch.h"
#include "ops/cross_attention/cross_attention.h"

namespace penstock::ops {

void cross_attention_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t queries = args.dim("M"), heads = args.dim("H");
  cuda::Launch launch = launcher.kernel("cross_attention", {{"HEAD_DIM", args.dim("D")}});
  for (const char* role : {"q", "k_text", "v_text", "prompt_length", "out"}) launch.pointer(args.tensor(role));
  launch.integer(queries).integer(args.dim("T")).integer(heads);
  launch.run({cuda::ceil_div(queries, launch.constant("BLOCK_M")), heads});
}

}  // namespace penstock::ops
