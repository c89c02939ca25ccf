// csrc/ptx/wgmma.h, emulated from the PTX ISA's tables: descriptors are taken apart by their bit fields, and operands
// are read element by element from shared memory.
#pragma once

#include <deque>
#include <map>

#include "ptx/swizzle.h"
#include "ptx/warp.h"

namespace penstock::ptx {

// A wgmma that was started. a: a descriptor, or with a null the registers of this thread.
struct Product {
  float* d;
  uint64_t a;
  const uint32_t* a_registers;
  uint64_t b;
  bool add;
  std::vector<float> before;  // what d held; it holds NaN while the product is on its way
};

struct Products {
  std::vector<Product> started;
  std::deque<std::vector<Product>> groups;
};

// By thread; empty again when a block has ended.
inline std::map<int, Products>& all_products() {
  static std::map<int, Products> all;
  return all;
}
inline Products& products() { return all_products()[emulation::thread_index().x]; }

// "Matrix Descriptor Format": address, leading and stride byte offsets in units of 16 bytes, and the swizzling mode.
struct Operand {
  explicit Operand(uint64_t bits)
      : address((bits & 0x3fff) * 16), leading((bits >> 16 & 0x3fff) * 16), stride((bits >> 32 & 0x3fff) * 16) {
    emulation::require(bits >> 62 == 1 && (bits >> 49 & 7) == 0, "a descriptor that is not swizzled by 128 bytes");
  }

  // The element that lies at this offset from the begin, before swizzling: bits 4 to 6 of an address are combined with
  // bits 7 to 9.
  float at(uint64_t offset) const {
    uint64_t place = address + offset;
    place ^= (place / 128 % 8) * 16;
    uint16_t bits;
    std::memcpy(&bits, emulation::shared_pointer(static_cast<uint32_t>(place)), sizeof bits);
    return emulation::from_bf16(bits);
  }
  // "Strides", K-major: groups of 8 rows are `stride` apart; 16 columns are contiguous.
  float k_major(int row, int k) const { return at(row / 8 * stride + row % 8 * 128 + k * 2); }
  // MN-major: 64 contiguous columns, 8 of K 128 bytes apart; the next 8 are at `stride`, the next 64 columns at
  // `leading`.
  float mn_major(int column, int k) const {
    return at(k / 8 * stride + k % 8 * 128 + column / 64 * leading + column % 64 * 2);
  }

  uint64_t address, leading, stride;
};

// A [64, 16] from registers, "Register Fragments": a thread's pairs, low half first, are at rows g and g + 8 of its
// warp's 16 (g = lane / 4), then the same rows 8 columns further.
inline float register_element(int row_in_warp, int k) {
  const int lane = row_in_warp % 8 * 4 + k % 8 / 2;
  const auto* registers = static_cast<const uint32_t*>(emulation::exchange(lane));
  const uint32_t pair = registers[row_in_warp / 8 + k / 8 * 2];
  return emulation::from_bf16(static_cast<uint16_t>(k % 2 == 0 ? pair : pair >> 16));
}

// What this thread holds of D: for each 8 columns, two at row g and two at row g + 8.
inline void execute(const Product& product) {
  const int thread = emulation::thread_index().x % 128, lane = thread % 32;
  const Operand b(product.b);
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    float a[16];
    for (int k = 0; k < 16; ++k)
      a[k] = product.a_registers ? register_element(row, k) : Operand(product.a).k_major(thread / 32 * 16 + row, k);
    for (int group = 0; group < 16; ++group)
      for (int odd = 0; odd < 2; ++odd) {
        const int column = group * 8 + lane % 4 * 2 + odd, i = group * 4 + half * 2 + odd;
        float sum = product.add ? product.before[static_cast<size_t>(i)] : 0.0f;
        for (int k = 0; k < 16; ++k) sum += a[k] * (product.a_registers ? b.mn_major(column, k) : b.k_major(column, k));
        product.d[i] = sum;
      }
  }
}

// By all lanes of a warp: registers of the others are read.
inline void finish(const Product& product) {
  for (int i = 0; i < 64; ++i) emulation::require(std::isnan(product.d[i]), "registers are touched while wgmma runs");
  emulation::exchange(emulation::lane()) = const_cast<uint32_t*>(product.a_registers);
  emulation::sync_warp();
  execute(product);
  emulation::sync_warp();
}

inline void start(float (&d)[64], uint64_t a, const uint32_t* registers, uint64_t b, bool add) {
  Product product{d, a, registers, b, add, std::vector<float>(d, d + 64)};
  std::fill(d, d + 64, NAN);
  if (emulation::is_eager()) return finish(product);
  products().started.push_back(std::move(product));
}

inline void wgmma_fence() {}
inline void wgmma_commit() {
  products().groups.push_back(std::move(products().started));
  products().started.clear();
}

template <int kPending>
void wgmma_wait() {
  auto& groups = products().groups;
  for (; groups.size() > kPending; groups.pop_front()) {
    std::vector<Product>& group = groups.front();
    for (size_t i = 0; i < group.size(); ++i) {
      if (i > 0) {  // a group is a chain over one accumulator
        group[i].before.assign(group[i].d, group[i].d + 64);
        std::fill(group[i].d, group[i].d + 64, NAN);
      }
      finish(group[i]);
    }
  }
}

template <typename Register, int kCount>
void pin(Register (&)[kCount]) {}

inline void wgmma_shared(float (&d)[64], uint64_t a, uint64_t b, bool add) { start(d, a, nullptr, b, add); }
inline void wgmma_registers(float (&d)[64], const uint32_t* a, uint64_t b, bool add) { start(d, 0, a, b, add); }

}  // namespace penstock::ptx
