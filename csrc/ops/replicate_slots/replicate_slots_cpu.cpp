#include "ops/replicate_slots/replicate_slots.h"

#include <algorithm>

#include "engine/thread_pool.h"

namespace penstock::ops {

void replicate_slots_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), size = args.dim("L") * args.dim("H") * args.dim("D");
  float* x = args.data<float>("x");
  pool.for_ranges(size, 65536, [&](int64_t begin, int64_t end) {
    for (int64_t s = 1; s < slots; ++s) std::copy(x + begin, x + end, x + s * size + begin);
  });
}

}  // namespace penstock::ops
