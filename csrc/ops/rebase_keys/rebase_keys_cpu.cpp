#include "ops/rebase_keys/rebase_keys.h"

#include <cstdlib>

#include "engine/cpu/step_state.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

// Turns the keys of `frames` cache frames, from `frame` of slot `slot` on, by the angles of `shift` positions.
void turn_frames(const OpArgs& args, int64_t slot, int64_t frame, int64_t frames, int64_t shift, ThreadPool& pool) {
  const int64_t tokens = args.dim("T"), heads = args.dim("H"), dim = args.dim("D");
  const int64_t temporal = dim - dim / 6 * 4;
  const float* angles = args.data<const float>("rope") + std::abs(shift) * dim;
  const float sign = shift < 0 ? -1.0f : 1.0f;  // the table has no negative positions: sin(-a) = -sin(a)
  float* keys = args.data<float>("k_cache") + (slot * args.dim("K") + frame) * tokens * heads * dim;
  pool.for_ranges(frames * tokens * heads, 256, [&](int64_t begin, int64_t end) {
    for (float* head = keys + begin * dim; head != keys + end * dim; head += dim)
      for (int64_t j = 0; j < temporal; j += 2) {
        const float real = head[j], imaginary = head[j + 1], sine = sign * angles[j + 1];
        head[j] = real * angles[j] - imaginary * sine;
        head[j + 1] = real * sine + imaginary * angles[j];
      }
  });
}

}  // namespace

void rebase_keys_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), capacity = args.dim("K"), sinks = args.dim("Z"), last = args.dim("P") - 1;
  for (int64_t s = 0; s < slots; ++s) {
    const int64_t rebase = checked_state(args, "rebase", s, -last, last);
    if (rebase == 0) continue;
    turn_frames(args, s, sinks, capacity - sinks, rebase, pool);
    if (!args.has("sink_shift")) continue;
    for (int64_t j = 0; j < sinks; ++j) {
      const int64_t shift = checked_state(args, "sink_shift", s * sinks + j, 0, last);
      if (shift == 0) continue;
      turn_frames(args, s, j, 1, -shift, pool);
      args.data<int32_t>("sink_shift")[s * sinks + j] = 0;
    }
  }
}

}  // namespace penstock::ops
