#include "engine/cuda/launch.h"
#include "ops/qk_norm_rope_cache/qk_norm_rope_cache.h"

namespace penstock::ops {

void qk_norm_rope_cache_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  const int64_t heads = args.dim("H");
  cuda::Launch launch = launcher.kernel("qk_norm_rope_cache",
                                        {{"HEAD_DIM", args.dim("D")}, {"BLOCK_HEADS", cuda::next_power_of_2(heads)}});
  for (const char* role :
       {"qkv", "norm_q", "norm_k", "rope", "frame_position", "ring_write", "q", "k_cache", "v_cache"})
    launch.pointer(args.tensor(role));
  for (const char* symbol : {"F", "h", "w", "K", "P"}) launch.integer(args.dim(symbol));
  launch.integer(heads).real(args.real("eps"));
  constexpr int64_t kParts = 3;  // q, k, v
  launch.run({args.dim("S") * args.dim("F") * args.dim("T"), kParts});
}

}  // namespace penstock::ops
