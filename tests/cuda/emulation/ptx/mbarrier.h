// csrc/ptx/mbarrier.h, emulated. PTX ISA: a phase is complete when its pending arrivals and its transaction count are
// 0.
#pragma once

#include "ptx/warp.h"

namespace penstock::ptx {

struct Barrier {
  int32_t arrivals, pending, bytes, phase;
};

inline void complete_if_done(Barrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.arrivals;
}

inline void init(Barrier& barrier, uint32_t arrivals) {
  barrier = {static_cast<int32_t>(arrivals), static_cast<int32_t>(arrivals), 0, 0};
}
inline void fence_init() {}

inline void arrive(Barrier& barrier) {
  emulation::require(barrier.pending > 0, "more arrivals than a barrier expects");
  --barrier.pending;
  complete_if_done(barrier);
}

inline void arrive_expect(Barrier& barrier, uint32_t bytes) {
  barrier.bytes += static_cast<int32_t>(bytes);
  arrive(barrier);
}

inline void complete(Barrier& barrier, uint32_t bytes) {
  barrier.bytes -= static_cast<int32_t>(bytes);
  complete_if_done(barrier);
}

inline void wait(Barrier& barrier, uint32_t parity) {
  emulation::wait_until([&] { return static_cast<uint32_t>(barrier.phase) % 2 != parity; }, "a barrier");
}

}  // namespace penstock::ptx
