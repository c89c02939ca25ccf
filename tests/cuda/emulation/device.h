// The parts of CUDA C++ that penstock's kernels use, for a host compiler: a kernel's source is compiled with this
// header in front and the emulated ptx/ before csrc/ptx/ in the include path, and its blocks run one after the other.
//
// Every thread of a block is a fiber; they take turns in an order drawn from a seed, so that a wait that is missing or
// too many shows as a wrong result or as a deadlock, which is reported. What the hardware does in its own time
// (TMA, wgmma) is done as late as possible, or with `eager` at once; what it will write holds NaN until then.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __syncthreads() ::emulation::sync_threads()
#define __syncwarp() ::emulation::sync_warp()
#define threadIdx ::emulation::thread_index()
#define blockIdx ::emulation::block_index()
#define gridDim ::emulation::grid_size()

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};

namespace emulation {

struct Index {
  int x;
};
Index thread_index();
Index block_index();
Index grid_size();

// Ends the emulation with this problem, if the condition does not hold.
void require(bool condition, const std::string& problem);

// Lets others run until the condition holds. `what` is named in a deadlock.
void wait_until(const std::function<bool()>& condition, const char* what);

void sync_threads();
void sync_warp();

// This thread's value where the other lanes of its warp find it, by a number of their own choice.
void*& exchange(int lane);
int lane();

// Shared memory; addresses in it are offsets.
unsigned char* shared_memory();
uint32_t shared_offset(const void* shared);
unsigned char* shared_pointer(uint32_t offset);

// What TMA is going to do: delivered later, in any order, unless `eager`.
void defer(std::function<void()> delivery);
bool is_eager();

inline float from_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}
inline uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // to nearest, ties to even
}

// Runs kernel() as a block of `threads` threads, number `block` of `blocks`; throws std::runtime_error.
void run_block(const std::function<void()>& kernel, int threads, int block, int blocks, size_t shared_bytes,
               unsigned seed, bool eager);

}  // namespace emulation
