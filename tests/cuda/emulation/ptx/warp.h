// csrc/ptx/warp.h, emulated.
#pragma once

#include "device.h"

namespace penstock::ptx {

inline uint32_t shared_address(const void* shared) { return emulation::shared_offset(shared); }

inline unsigned char* dynamic_shared() {
  unsigned char* memory = emulation::shared_memory();
  return memory + (-shared_address(memory) & 1023);
}

inline void fence_async() {}
template <int kRegisters>
void more_registers() {}
template <int kRegisters>
void fewer_registers() {}

inline float exp2(float x) { return std::exp2(x); }

inline uint32_t pack_bf16(float first, float second) {
  return emulation::to_bf16(first) | static_cast<uint32_t>(emulation::to_bf16(second)) << 16;
}

inline float shuffle_xor(float value, int bits) {
  emulation::exchange(emulation::lane()) = &value;
  emulation::sync_warp();
  const float other = *static_cast<float*>(emulation::exchange(emulation::lane() ^ bits));
  emulation::sync_warp();
  return other;
}

inline int uniform(int value) { return value; }

}  // namespace penstock::ptx
