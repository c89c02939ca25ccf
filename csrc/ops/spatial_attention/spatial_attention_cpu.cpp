#include "ops/spatial_attention/spatial_attention.h"

#include <algorithm>

#include "engine/cpu/attention.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void spatial_attention_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t tokens = args.dim("N"), channels = args.dim("C"), width = 3 * channels;
  const float* qkv = args.data<const float>("qkv");
  float* out = args.data<float>("out");

  const int64_t block = query_block(tokens);
  const int64_t blocks = (tokens + block - 1) / block;
  pool.for_each(args.dim("T") * blocks, [&](int64_t task) {
    const int64_t first_token = task / blocks * tokens, first = task % blocks * block;
    const float* frame = qkv + first_token * width;
    attend(std::min(block, tokens - first), tokens, channels, {frame + first * width, width}, {frame + channels, width},
           {frame + 2 * channels, width}, 0.0f, {out + (first_token + first) * channels, channels});
  });
}

}  // namespace penstock::ops
