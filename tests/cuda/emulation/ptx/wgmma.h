// csrc/ptx/wgmma.h, emulated from the PTX ISA's tables: descriptors are taken apart by their bit fields, and operands
// are read element by element from shared memory.
#pragma once

#include <algorithm>
#include <deque>
#include <map>

#include "ptx/swizzle.h"
#include "ptx/warp.h"

namespace penstock::ptx {

// A wgmma that was started. a: a descriptor, or with registers of this thread for A what they are.
struct Product {
  float* d;
  int count;  // floats of d: half as many as there are columns
  uint64_t a;
  const uint32_t* a_registers;
  uint64_t b;
  bool add;
};

// What a thread's d will hold once the products on their way to it are done; until then d itself holds NaN.
struct Accumulator {
  std::vector<float> values;
  int pending = 0;
};

struct Products {
  std::vector<Product> started;
  std::deque<std::vector<Product>> groups;
  std::map<float*, Accumulator> accumulators;
};

// By thread; empty again when a block has ended.
inline std::map<int, Products>& all_products() {
  static std::map<int, Products> all;
  return all;
}
inline Products& products() { return all_products()[emulation::thread_index().x]; }

// "Matrix Descriptor Format": address, leading and stride byte offsets in units of 16 bytes, and the swizzling mode: 1
// is 128 bytes, 2 is 64.
struct Operand {
  explicit Operand(uint64_t bits)
      : address((bits & 0x3fff) * 16),
        leading((bits >> 16 & 0x3fff) * 16),
        stride((bits >> 32 & 0x3fff) * 16),
        row_bytes(bits >> 62 == 1 ? 128 : 64),
        memory(emulation::shared_pointer(0)) {
    const bool is_known = (bits >> 62 == 1 || bits >> 62 == 2) && (bits >> 49 & 7) == 0;
    if (!is_known) emulation::require(false, "a descriptor that is not swizzled by 128 or 64 bytes");
  }

  // The element that lies at this offset from the begin, before swizzling: of an address bits 4 to 6 are combined with
  // bits 7 to 9, with rows of 64 bytes bits 4 and 5 with bits 7 and 8.
  float at(uint64_t offset) const {
    uint64_t place = address + offset;
    place ^= (place / 128 % (row_bytes / 16)) * 16;
    uint16_t bits;
    std::memcpy(&bits, memory + place, sizeof bits);
    return emulation::from_bf16(bits);
  }
  // "Strides", K-major: groups of 8 rows are `stride` apart; 16 columns are contiguous.
  float k_major(int row, int k) const { return at(row / 8 * stride + row % 8 * row_bytes + k * 2); }
  // MN-major: 64 contiguous columns, 8 of K 128 bytes apart; the next 8 are at `stride`, the next 64 columns at
  // `leading`.
  float mn_major(int column, int k) const {
    return at(k / 8 * stride + k % 8 * 128 + column / 64 * leading + column % 64 * 2);
  }

  uint64_t address, leading, stride, row_bytes;
  const unsigned char* memory;
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
inline void execute(const Product& product, std::vector<float>& values) {
  const int thread = emulation::thread_index().x % 128, lane = thread % 32;
  const Operand b(product.b);
  float a[2][16];
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < 16; ++k) {
      const int row = lane / 4 + 8 * half;
      a[half][k] =
          product.a_registers ? register_element(row, k) : Operand(product.a).k_major(thread / 32 * 16 + row, k);
    }
  for (int pair = 0; pair < product.count / 2; ++pair) {
    const int column = pair / 2 * 8 + lane % 4 * 2 + pair % 2;
    float* sums[] = {&values[static_cast<size_t>(pair / 2 * 4 + pair % 2)], nullptr};
    sums[1] = sums[0] + 2;
    if (!product.add) *sums[0] = *sums[1] = 0.0f;
    for (int k = 0; k < 16; ++k) {
      const float weight = product.a_registers ? b.mn_major(column, k) : b.k_major(column, k);
      for (int half = 0; half < 2; ++half) *sums[half] += a[half][k] * weight;
    }
  }
}

// By all lanes of a warp: with A in registers those of the others are read.
inline void finish(const Product& product) {
  const bool is_untouched = std::all_of(product.d, product.d + product.count, [](float d) { return std::isnan(d); });
  if (!is_untouched) emulation::require(false, "registers are touched while wgmma runs");
  Accumulator& accumulator = products().accumulators[product.d];
  if (product.a_registers) {
    emulation::exchange(emulation::lane()) = const_cast<uint32_t*>(product.a_registers);
    emulation::sync_warp();
  }
  execute(product, accumulator.values);
  if (product.a_registers) emulation::sync_warp();
  if (--accumulator.pending > 0) return;
  std::copy(accumulator.values.begin(), accumulator.values.end(), product.d);
  products().accumulators.erase(product.d);
}

inline void start(float* d, int count, uint64_t a, const uint32_t* registers, uint64_t b, bool add) {
  Accumulator& accumulator = products().accumulators[d];
  if (accumulator.pending++ == 0) accumulator.values.assign(d, d + count);
  std::fill(d, d + count, NAN);
  const Product product{d, count, a, registers, b, add};
  if (emulation::is_eager()) return finish(product);
  products().started.push_back(product);
}

inline void wgmma_fence() {}
inline void wgmma_commit() {
  products().groups.push_back(std::move(products().started));
  products().started.clear();
}

template <int kPending>
void wgmma_wait() {
  auto& groups = products().groups;
  for (; groups.size() > kPending; groups.pop_front())
    for (const Product& product : groups.front()) finish(product);
}

template <typename Register, int kCount>
void pin(Register (&)[kCount]) {}

inline void wgmma_shared(float (&d)[64], uint64_t a, uint64_t b, bool add) { start(d, 64, a, nullptr, b, add); }
inline void wgmma_registers(float (&d)[64], const uint32_t* a, uint64_t b, bool add) { start(d, 64, 0, a, b, add); }

}  // namespace penstock::ptx
