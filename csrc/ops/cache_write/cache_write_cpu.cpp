#include "ops/cache_write/cache_write.h"

#include <algorithm>
#include <vector>

#include "engine/cpu/step_state.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void cache_write_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), frames = args.dim("F"), capacity = args.dim("K");
  const int64_t token = args.dim("H") * args.dim("D"), frame = args.dim("T") * token;
  const struct {
    const float* source;
    float* cache;
  } copies[] = {{args.data<const float>("k"), args.data<float>("k_cache")},
                {args.data<const float>("v"), args.data<float>("v_cache")}};

  std::vector<int64_t> place;  // of a slot's chunk in the cache
  for (int64_t s = 0; s < slots; ++s)
    place.push_back((s * capacity + checked_state(args, "ring_write", s, 0, capacity - frames)) * frame);
  for (const auto& copy : copies)
    for (int64_t s = 0; s < slots; ++s) {
      const float* source = copy.source + s * frames * frame;
      pool.for_ranges(frames * frame, 65536, [&](int64_t begin, int64_t end) {
        std::copy(source + begin, source + end, copy.cache + place[s] + begin);
      });
    }
}

}  // namespace penstock::ops
