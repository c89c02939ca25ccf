#include "ops/quantize_cache/quantize_cache.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/cpu/float8.h"
#include "engine/cpu/step_state.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

// One frame of one head in the cache: rows of `dim` floats, `stride` apart.
struct Frame {
  const float* rows;
  int64_t stride, tokens, dim;

  float at(int64_t token, int64_t channel) const { return rows[token * stride + channel]; }
};

void find_mean(const Frame& keys, float* mean) {
  std::vector<double> sum(static_cast<size_t>(keys.dim));
  for (int64_t t = 0; t < keys.tokens; ++t)
    for (int64_t d = 0; d < keys.dim; ++d) sum[static_cast<size_t>(d)] += keys.at(t, d);
  for (int64_t d = 0; d < keys.dim; ++d)
    mean[d] = static_cast<float>(sum[static_cast<size_t>(d)] / static_cast<double>(keys.tokens));
}

// The codes of one block: value(token, channel) is what they stand for, place(token in the block, channel) where they
// lie. Returns the scale.
template <typename Value, typename Place>
float encode_block(const Frame& frame, int64_t block, uint8_t* codes, Value value, Place place) {
  const int64_t first = block * kQuantizedBlock, tokens = std::min(kQuantizedBlock, frame.tokens - first);
  float largest = 0.0f;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t d = 0; d < frame.dim; ++d) largest = std::max(largest, std::fabs(value(first + t, d)));
  const float scale = e4m3_scale(largest);
  for (int64_t t = 0; t < kQuantizedBlock; ++t)
    for (int64_t d = 0; d < frame.dim; ++d)
      codes[place(t, d)] = t < tokens ? to_e4m3(value(first + t, d) / scale) : uint8_t{0};
  return scale;
}

}  // namespace

void quantize_cache_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), frames = args.dim("F"), capacity = args.dim("K"), heads = args.dim("H");
  const int64_t dim = args.dim("D"), tokens = args.dim("T"), blocks = args.dim("B");
  const int64_t padded = blocks * kQuantizedBlock, stride = heads * dim;
  struct Valid {
    int64_t write, length, rebase;
    bool changes(int64_t frame, int64_t count) const {
      return (frame >= write && frame < write + count) || (rebase != 0 && frame < length);
    }
  };
  std::vector<Valid> valid;
  for (int64_t s = 0; s < slots; ++s)
    valid.push_back({checked_state(args, "ring_write", s, 0, capacity - frames),
                     checked_state(args, "ring_length", s, 1, capacity), args.data<const int32_t>("rebase")[s]});

  pool.for_each(slots * capacity * heads, [&](int64_t place) {  // a frame of a head
    const int64_t s = place / (capacity * heads), frame = place / heads % capacity, head = place % heads;
    if (!valid[static_cast<size_t>(s)].changes(frame, frames)) return;
    const int64_t first = (s * capacity + frame) * tokens * stride + head * dim;
    const Frame keys{args.data<const float>("k_cache") + first, stride, tokens, dim};
    const Frame values{args.data<const float>("v_cache") + first, stride, tokens, dim};
    float* mean = args.data<float>("k_mean") + place * dim;
    find_mean(keys, mean);
    for (int64_t block = 0; block < blocks; ++block) {
      uint8_t* k_codes = args.data<uint8_t>("k_codes") + (place * padded + block * kQuantizedBlock) * dim;
      uint8_t* v_codes = args.data<uint8_t>("v_codes") + place * dim * padded + block * kQuantizedBlock;
      args.data<float>("k_scale")[place * blocks + block] = encode_block(
          keys, block, k_codes, [&](int64_t t, int64_t d) { return keys.at(t, d) - mean[d]; },
          [=](int64_t t, int64_t d) { return t * dim + d; });
      args.data<float>("v_scale")[place * blocks + block] = encode_block(
          values, block, v_codes, [&](int64_t t, int64_t d) { return values.at(t, d); },
          [=](int64_t t, int64_t d) { return d * padded + t; });
    }
  });
}

}  // namespace penstock::ops
