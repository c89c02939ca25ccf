#include "ops/cross_attention/cross_attention.h"

#include <algorithm>
#include <cmath>

#include "engine/cpu/attention.h"
#include "engine/cpu/step_state.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void cross_attention_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t queries = args.dim("M"), rows = args.dim("T"), heads = args.dim("H"), dim = args.dim("D");
  const int64_t full = heads * dim;
  const float* q = args.data<const float>("q");
  const float* k_text = args.data<const float>("k_text");
  const float* v_text = args.data<const float>("v_text");
  float* out = args.data<float>("out");

  const int64_t prompt = checked_state(args, "prompt_length", 0, 0, rows);
  const int64_t keys = std::min(prompt + 1, rows);
  const float padding_bias = prompt < rows ? std::log(static_cast<float>(rows - prompt)) : 0.0f;

  const int64_t block = query_block(queries);
  const int64_t blocks = (queries + block - 1) / block;
  pool.for_each(heads * blocks, [&](int64_t task) {
    const int64_t head = task / blocks, first = task % blocks * block;
    const int64_t offset = first * full + head * dim;
    attend(std::min(block, queries - first), keys, dim, {q + offset, full}, {k_text + head * dim, full},
           {v_text + head * dim, full}, padding_bias, {out + offset, full});
  });
}

}  // namespace penstock::ops
