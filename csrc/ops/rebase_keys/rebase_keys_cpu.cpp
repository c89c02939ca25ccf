#include "ops/rebase_keys/rebase_keys.h"

#include <cstdlib>

#include "engine/cpu/step_state.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void rebase_keys_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), capacity = args.dim("K"), tokens = args.dim("T"), sinks = args.dim("Z");
  const int64_t heads = args.dim("H"), dim = args.dim("D"), last = args.dim("P") - 1;
  const int64_t temporal = dim - dim / 6 * 4;
  for (int64_t s = 0; s < slots; ++s) {
    const int64_t shift = checked_state(args, "rebase", s, -last, last);
    if (shift == 0) continue;
    const float* angles = args.data<const float>("rope") + std::abs(shift) * dim;
    const float sign = shift < 0 ? -1.0f : 1.0f;  // the table has no negative positions: sin(-a) = -sin(a)
    float* keys = args.data<float>("k_cache") + (s * capacity + sinks) * tokens * heads * dim;
    pool.for_ranges((capacity - sinks) * tokens * heads, 256, [&](int64_t begin, int64_t end) {
      for (float* head = keys + begin * dim; head != keys + end * dim; head += dim)
        for (int64_t j = 0; j < temporal; j += 2) {
          const float real = head[j], imaginary = head[j + 1], sine = sign * angles[j + 1];
          head[j] = real * angles[j] - imaginary * sine;
          head[j + 1] = real * sine + imaginary * angles[j];
        }
    });
  }
}

}  // namespace penstock::ops
