#include "engine/cuda/float8_check.h"
#include "ops/quantize_cache/quantize_cache.h"

namespace penstock::ops {

void quantize_cache_cuda(const OpArgs& args, cuda::Launcher& launcher) {
  cuda::require_8_bit_floats(launcher, "fp8_attention");
  const int64_t slots = args.dim("S"), capacity = args.dim("K"), heads = args.dim("H"), dim = args.dim("D");
  cuda::Launch mean = launcher.kernel("mean_keys");
  for (const char* role : {"k_cache", "ring_write", "ring_length", "rebase", "k_mean"}) mean.pointer(args.tensor(role));
  mean.integer(args.dim("F")).integer(capacity).integer(args.dim("T")).integer(heads * dim);
  mean.run({cuda::ceil_div(heads * dim, mean.constant("BLOCK_COLUMNS")), capacity, slots});

  cuda::Launch codes = launcher.kernel("quantize_cache", {{"HEAD_DIM", dim}});
  for (const char* role : {"k_cache", "v_cache", "ring_write", "ring_length", "rebase", "k_codes", "v_codes", "k_mean",
                           "k_scale", "v_scale"})
    codes.pointer(args.tensor(role));
  codes.integer(args.dim("F")).integer(capacity).integer(args.dim("T")).integer(heads);
  codes.run({args.dim("B") * heads, capacity, slots});
}

}  // namespace penstock::ops
