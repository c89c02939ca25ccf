// csrc/ptx/named_barrier.h, emulated.
#pragma once

#include <vector>

#include "device.h"

namespace penstock::ptx {

struct NamedBarrier {
  int come, completed;
};

struct NamedBarriers {
  NamedBarrier barriers[16];
  std::vector<int> order;  // of their completions
};

inline NamedBarriers& named_barriers() {
  static NamedBarriers all{};
  return all;
}

template <int kThreads>
void barrier_arrive(int barrier) {
  NamedBarrier& state = named_barriers().barriers[barrier];
  emulation::require(barrier > 0 && barrier < 16 && state.come < kThreads, "a barrier that does not exist, or is full");
  if (++state.come < kThreads) return;
  state.come = 0;
  ++state.completed;
  named_barriers().order.push_back(barrier);
}

template <int kThreads>
void barrier_sync(int barrier) {
  const int before = named_barriers().barriers[barrier].completed;
  barrier_arrive<kThreads>(barrier);
  emulation::wait_until([=] { return named_barriers().barriers[barrier].completed != before; }, "a named barrier");
}

}  // namespace penstock::ptx
