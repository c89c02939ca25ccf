#include "device.h"

#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <random>
#include <stdexcept>

namespace emulation {
namespace {

constexpr int kWarp = 32;
constexpr int kRoundsOfIdleness = 50;
constexpr size_t kStackBytes = 256 << 10;
constexpr uint32_t kWindow = 1024 + 16;  // where a block's shared memory begins: not where a tile may

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  bool is_done = false;
  const std::function<bool()>* waits_for = nullptr;
  const char* what = "";
  int64_t warp_syncs = 0, block_syncs = 0;
  void* exchanged = nullptr;
};

struct Block {
  std::vector<Fiber> fibers;
  ucontext_t scheduler;
  std::vector<std::function<void()>> deferred;
  std::vector<unsigned char> shared;
  const std::function<void()>* kernel;
  std::mt19937 random;
  int current = 0, block = 0, blocks = 0;
  bool eager = false;
  std::string problem;
};

Block* running = nullptr;

Fiber& self() { return running->fibers[static_cast<size_t>(running->current)]; }

void yield() { swapcontext(&self().context, &running->scheduler); }

// All threads of the group have synchronised as often as this one, or have ended.
void sync(int first, int count, int64_t Fiber::*syncs, const char* what) {
  const int64_t own = ++(self().*syncs);
  wait_until(
      [=] {
        const auto begin = running->fibers.begin() + first;
        return std::all_of(begin, begin + count, [=](const Fiber& fiber) { return fiber.*syncs >= own; });
      },
      what);
}

void run_fiber() {
  (*running->kernel)();
  self().is_done = true;
  yield();
}

void deliver_one() {
  auto& deferred = running->deferred;
  std::swap(deferred[running->random() % deferred.size()], deferred.back());
  const std::function<void()> delivery = std::move(deferred.back());
  deferred.pop_back();
  delivery();
}

std::string describe_deadlock() {
  for (size_t thread = 0; thread < running->fibers.size(); ++thread)
    if (const Fiber& fiber = running->fibers[thread]; !fiber.is_done)
      return "deadlock: block " + std::to_string(running->block) + ", thread " + std::to_string(thread) +
             " waits for " + fiber.what;
  return "";
}

// Lets every thread that can go on do so, but those of the idle warp, the warps in a random order. Returns whether
// there was one.
bool run_round(std::vector<int>& warps, int idle) {
  std::shuffle(warps.begin(), warps.end(), running->random);
  bool progress = false;
  for (const int warp : warps)
    for (int lane = warp == idle ? kWarp : 0; lane < kWarp && running->problem.empty(); ++lane) {
      running->current = warp * kWarp + lane;
      Fiber& fiber = self();
      if (fiber.is_done || (fiber.waits_for && !(*fiber.waits_for)())) continue;
      progress = true;
      swapcontext(&running->scheduler, &fiber.context);
    }
  return progress;
}

}  // namespace

Index thread_index() { return {running->current}; }
Index block_index() { return {running->block}; }
Index grid_size() { return {running->blocks}; }
int lane() { return running->current % kWarp; }
bool is_eager() { return running->eager; }

void require(bool condition, const std::string& problem) {
  if (condition) return;
  if (running->problem.empty()) running->problem = problem + " (thread " + std::to_string(running->current) + ")";
  self().is_done = true;
  yield();
}

void wait_until(const std::function<bool()>& condition, const char* what) {
  if (condition()) return;
  self().waits_for = &condition;
  self().what = what;
  yield();
  self().waits_for = nullptr;
}

void sync_threads() {
  sync(0, static_cast<int>(running->fibers.size()), &Fiber::block_syncs, "all threads of the block");
}
void sync_warp() { sync(running->current / kWarp * kWarp, kWarp, &Fiber::warp_syncs, "all threads of the warp"); }

void*& exchange(int lane) {
  return running->fibers[static_cast<size_t>(running->current / kWarp * kWarp + lane)].exchanged;
}

unsigned char* shared_memory() { return shared_pointer(kWindow); }
uint32_t shared_offset(const void* shared) {
  return static_cast<uint32_t>(static_cast<const unsigned char*>(shared) - running->shared.data());
}
unsigned char* shared_pointer(uint32_t offset) { return running->shared.data() + offset; }

void defer(std::function<void()> delivery) { running->deferred.push_back(std::move(delivery)); }

void run_block(const std::function<void()>& kernel, int threads, int block, int blocks, size_t shared_bytes,
               unsigned seed, bool eager) {
  Block state;
  state.fibers = std::vector<Fiber>(static_cast<size_t>(threads));
  state.shared.assign(kWindow + shared_bytes, 0xff);
  state.kernel = &kernel;
  state.random.seed(seed);
  state.block = block;
  state.blocks = blocks;
  state.eager = eager;
  running = &state;
  for (Fiber& fiber : state.fibers) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_fiber, 0);
  }
  std::vector<int> warps(static_cast<size_t>(threads / kWarp));
  for (size_t warp = 0; warp < warps.size(); ++warp) warps[warp] = static_cast<int>(warp);
  const auto is_done = [&] {
    return std::all_of(state.fibers.begin(), state.fibers.end(), [](const Fiber& fiber) { return fiber.is_done; });
  };
  int idle = -1;  // one warp falls behind until the others wait for it
  for (int round = 1; state.problem.empty() && !is_done(); ++round) {
    const bool progress = run_round(warps, idle);
    if (!state.deferred.empty() && (eager || !progress))
      deliver_one();
    else if (!progress && idle >= 0)
      idle = -1;
    else if (!progress && state.problem.empty())
      state.problem = describe_deadlock();
    else if (round % kRoundsOfIdleness == 0)
      idle = warps.front();
  }
  if (state.problem.empty() && !state.deferred.empty()) state.problem = "a block ends before its copies have come";
  running = nullptr;
  if (!state.problem.empty()) throw std::runtime_error(state.problem);
}

}  // namespace emulation
