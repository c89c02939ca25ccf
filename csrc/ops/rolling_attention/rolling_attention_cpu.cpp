#include "ops/rolling_attention/rolling_attention.h"

#include <algorithm>
#include <vector>

#include "engine/cpu/attention.h"
#include "engine/cpu/step_state.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void rolling_attention_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), queries = args.dim("N"), heads = args.dim("H"), dim = args.dim("D");
  const int64_t capacity = args.dim("K"), frame_tokens = args.dim("T"), full = heads * dim;
  const float* q = args.data<const float>("q");
  const float* k_cache = args.data<const float>("k_cache");
  const float* v_cache = args.data<const float>("v_cache");
  float* out = args.data<float>("out");

  std::vector<int64_t> keys;
  for (int64_t s = 0; s < slots; ++s) keys.push_back(checked_state(args, "ring_length", s, 1, capacity) * frame_tokens);

  const int64_t block = query_block(queries);
  const int64_t blocks = (queries + block - 1) / block;
  pool.for_each(slots * heads * blocks, [&](int64_t task) {
    const int64_t s = task / (heads * blocks), head = task / blocks % heads, first = task % blocks * block;
    const int64_t query_offset = (s * queries + first) * full + head * dim;
    const int64_t cache_offset = s * capacity * frame_tokens * full + head * dim;
    attend(std::min(block, queries - first), keys[s], dim, {q + query_offset, full}, {k_cache + cache_offset, full},
           {v_cache + cache_offset, full}, 0.0f, {out + query_offset, full});
  });
}

}  // namespace penstock::ops
