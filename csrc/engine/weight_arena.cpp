#include "engine/weight_arena.h"

#include <algorithm>
#include <cstring>

namespace penstock {
namespace {

constexpr size_t kBlock = size_t{16} << 20;  // bytes

uint64_t rotate(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

// Spreads every bit of the input over all bits of the output; a bijection.
uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 32)) * 0xd6e8feb86659fd93u;
  value = (value ^ (value >> 32)) * 0xd6e8feb86659fd93u;
  return value ^ (value >> 32);
}

}  // namespace

// Four independent lanes of 8 bytes, so that it is as fast as memory is read.
Fingerprint fingerprint(const void* data, size_t bytes) {
  constexpr uint64_t kOdd[4] = {0x9e3779b97f4a7c15u, 0xc2b2ae3d27d4eb4fu, 0x165667b19e3779f9u, 0x27d4eb2f165667c5u};
  uint64_t lanes[4] = {kOdd[3], kOdd[2], kOdd[1], kOdd[0]};
  const auto add = [&](const uint64_t(&words)[4]) {
    for (int i = 0; i < 4; ++i) lanes[i] = rotate((lanes[i] ^ words[i]) * kOdd[i], 31);
  };
  const char* const begin = static_cast<const char*>(data);
  const size_t whole = bytes / sizeof lanes * sizeof lanes;
  uint64_t words[4];
  for (size_t at = 0; at < whole; at += sizeof words) {
    std::memcpy(words, begin + at, sizeof words);  // of fixed size: a load, not a call
    add(words);
  }
  uint64_t rest[4] = {};
  std::memcpy(rest, begin + whole, bytes - whole);
  add(rest);
  const uint64_t first = mix(lanes[0] + mix(lanes[1] ^ bytes)), second = mix(lanes[2] + mix(lanes[3] + bytes));
  return {mix(first + rotate(second, 17)), mix(second ^ rotate(first, 41))};
}

WeightArena::WeightArena(std::shared_ptr<Backend> backend, size_t first_block) : backend_(std::move(backend)) {
  if (first_block) block_ = std::make_shared<Memory>(backend_, first_block, "weights");
}

void WeightArena::grow(size_t bytes) {
  block_ = std::make_shared<Memory>(backend_, std::max(bytes, kBlock), "weights");
  used_ = 0;
}

std::shared_ptr<const Weight> WeightArena::store(DType dtype, const Shape& shape, Fingerprint content, const void* data,
                                                 size_t bytes) {
  const size_t size = align_up(bytes);
  if (!block_ || block_->bytes() - used_ < size) grow(size);
  void* const device = block_->at(used_);
  backend_->upload(device, data, bytes, 0);
  used_ += size;
  return std::make_shared<const Weight>(Weight{block_, device, dtype, shape, content});
}

}  // namespace penstock
