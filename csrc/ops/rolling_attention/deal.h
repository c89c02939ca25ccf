// The deal of attention's work over programs (stream-K), as kernels/stream_k.py has it, for the host and the device.
//
// A work unit is one block of keys for one tile of queries of one head and slot. Units are numbered with the block
// fastest, then tile, head, slot; slot s has ceil(L_s / block_n) blocks for each of its tiles. Of all U units, program
// p of P does floor(p U / P) to floor((p + 1) U / P): no two programs differ by more than one.
//
// The lengths are step state, so the deal is made on the device, from what they are when the kernel runs: a ring that
// is still filling costs what it holds, and slots of different lengths share the device evenly. What is fixed at
// capture is P. A result depends on the lengths and P alone, so it is the same from run to run.
#pragma once

#include <cstdint>

#include "ptx/host_device.h"

namespace penstock::attention {

// Sizes of the op: slots S, queries N of a slot, capacity K T and frame_tokens T of its cache, heads H.
struct Shape {
  int slots, queries, capacity, frame_tokens, heads;
};

// A run of blocks of one tile, [first, last) of `blocks`.
struct Part {
  int slot, head, query_tile, first, last, blocks, keys;

  PENSTOCK_BOTH constexpr bool is_whole() const { return last - first == blocks; }
  // Where its partial result lies. A program has at most one part that another one begins, its first, and at most one
  // that begins with it and that another one ends, its last.
  PENSTOCK_BOTH constexpr int place(int program) const { return 2 * program + (first == 0); }
};

PENSTOCK_BOTH constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// First unit of a program; that of the program behind the last one is the number of units.
PENSTOCK_BOTH constexpr int first_unit(int program, int units, int programs) {
  return static_cast<int>(static_cast<int64_t>(program) * units / programs);
}

// The program that does a unit: the last one whose first unit is not behind it.
PENSTOCK_BOTH constexpr int program_of(int unit, int units, int programs) {
  return static_cast<int>((static_cast<int64_t>(unit + 1) * programs - 1) / units);
}

// Valid keys of a slot. A length that the cache does not have becomes the nearest one that it has.
PENSTOCK_BOTH constexpr int slot_keys(int frames, const Shape& shape) {
  const int capacity = shape.capacity / shape.frame_tokens;
  return (frames < 1 ? 1 : frames > capacity ? capacity : frames) * shape.frame_tokens;
}

template <int kBlockM, int kBlockN>
class Deal {
 public:
  PENSTOCK_BOTH constexpr Deal(const Shape& shape, const int* ring_length)
      : shape_(shape), ring_length_(ring_length), query_tiles_(ceil_div(shape.queries, kBlockM)) {}

  PENSTOCK_BOTH constexpr int units() const { return units_before(shape_.slots); }

  // The part that begins with `unit` and ends with its tile or before the unit `end`.
  PENSTOCK_BOTH constexpr Part part(int unit, int end) const {
    int slot = 0, before = 0;
    while (slot + 1 < shape_.slots && unit >= before + slot_units(slot)) before += slot_units(slot++);
    const int keys = slot_keys(ring_length_[slot], shape_), blocks = ceil_div(keys, kBlockN);
    const int tile = (unit - before) / blocks, first = (unit - before) % blocks;
    const int last = first + (end - unit) < blocks ? first + (end - unit) : blocks;
    return {slot, tile / query_tiles_, tile % query_tiles_, first, last, blocks, keys};
  }

 private:
  PENSTOCK_BOTH constexpr int slot_units(int slot) const {
    return shape_.heads * query_tiles_ * ceil_div(slot_keys(ring_length_[slot], shape_), kBlockN);
  }
  PENSTOCK_BOTH constexpr int units_before(int slot) const {
    int units = 0;
    for (int other = 0; other < slot; ++other) units += slot_units(other);
    return units;
  }

  Shape shape_;
  const int* ring_length_;
  int query_tiles_;
};

}  // namespace penstock::attention
