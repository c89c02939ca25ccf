#include "ops/rolling_attention_fp8/rolling_attention_fp8.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/cpu/attention.h"
#include "engine/cpu/float8.h"
#include "engine/cpu/step_state.h"
#include "engine/cpu/vector_math.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

constexpr float kWeightScale = 256.0f;

// One frame of one head: its codes, means and scales.
struct QuantizedFrame {
  const uint8_t *k_codes, *v_codes;
  const float *k_mean, *k_scale, *v_scale;
};

// What one thread needs for the queries of one task.
struct Scratch {
  std::vector<float> q, k, v, scores, bias, largest, sum;

  void resize(int64_t queries, int64_t dim) {
    const auto rows = static_cast<size_t>(queries), columns = static_cast<size_t>(dim);
    constexpr size_t kBlock = kQuantizedBlock;
    q.resize(rows * columns);
    k.resize(kBlock * columns);
    v.resize(kBlock * columns);
    scores.resize(rows * kBlock);
    bias.resize(rows);
    largest.assign(rows, -INFINITY);
    sum.assign(rows, 0.0f);
  }
};

void decode(const uint8_t* codes, int64_t count, float scale, float* values) {
  const float* const table = e4m3_values();
  for (int64_t i = 0; i < count; ++i) values[i] = table[codes[i]] * scale;
}

void round_queries(int64_t queries, int64_t dim, MatrixIn q, float* rounded) {
  for (int64_t i = 0; i < queries; ++i, rounded += dim) {
    std::copy_n(q.data + i * q.stride, dim, rounded);
    float largest = 0.0f;
    for (int64_t d = 0; d < dim; ++d) largest = std::max(largest, std::fabs(rounded[d]));
    round_row_e4m3(rounded, dim, 1.0f / e4m3_scale(largest));
  }
}

// Turns scores into rounded weights relative to the largest score so far, and rescales what was summed before.
void weigh(int64_t queries, int64_t keys, int64_t dim, Scratch& scratch, MatrixOut out) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (int64_t i = 0; i < queries; ++i) {
    float* row = scratch.scores.data() + i * kQuantizedBlock;
    float &largest = scratch.largest[static_cast<size_t>(i)], &sum = scratch.sum[static_cast<size_t>(i)];
    const float bias = scratch.bias[static_cast<size_t>(i)], highest = row_max(row, keys) + bias;
    if (highest > largest) {
      const float factor = sum == 0.0f ? 0.0f : fast_exp(scale * (largest - highest));
      largest = highest;
      sum *= factor;
      scale_row(out.data + i * out.stride, dim, factor);
    }
    sum += exp_row(row, keys, scale, largest - bias);
    round_row_e4m3(row, keys, kWeightScale);
  }
}

void attend_frame(int64_t queries, int64_t tokens, int64_t dim, MatrixIn q, const QuantizedFrame& frame,
                  Scratch& scratch, MatrixOut out) {
  const int64_t blocks = (tokens + kQuantizedBlock - 1) / kQuantizedBlock, padded = blocks * kQuantizedBlock;
  for (int64_t i = 0; i < queries; ++i)
    scratch.bias[static_cast<size_t>(i)] = dot(q.data + i * q.stride, frame.k_mean, dim);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = block * kQuantizedBlock, keys = std::min(kQuantizedBlock, tokens - first);
    decode(frame.k_codes + first * dim, keys * dim, frame.k_scale[block], scratch.k.data());
    for (int64_t d = 0; d < dim; ++d)
      decode(frame.v_codes + d * padded + first, keys, frame.v_scale[block], scratch.v.data() + d * kQuantizedBlock);
    matmul_nt(queries, keys, dim, {scratch.q.data(), dim}, {scratch.k.data(), dim},
              {scratch.scores.data(), kQuantizedBlock});
    weigh(queries, keys, dim, scratch, out);
    matmul_nt(queries, dim, keys, {scratch.scores.data(), kQuantizedBlock}, {scratch.v.data(), kQuantizedBlock}, out,
              Write::kAdd);
  }
}

}  // namespace

void rolling_attention_fp8_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), queries = args.dim("N"), heads = args.dim("H"), dim = args.dim("D");
  const int64_t capacity = args.dim("K"), tokens = args.dim("T"), blocks = args.dim("B"), full = heads * dim;
  const int64_t codes = blocks * kQuantizedBlock * dim;  // of a frame of a head
  const float* q = args.data<const float>("q");
  float* out = args.data<float>("out");
  std::vector<int64_t> length;
  for (int64_t s = 0; s < slots; ++s) length.push_back(checked_state(args, "ring_length", s, 1, capacity));

  const int64_t rows = query_block(queries), tasks = (queries + rows - 1) / rows;
  pool.for_each(slots * heads * tasks, [&](int64_t task) {
    const int64_t s = task / (heads * tasks), head = task / tasks % heads, first = task % tasks * rows;
    const int64_t count = std::min(rows, queries - first), offset = (s * queries + first) * full + head * dim;
    const MatrixIn given{q + offset, full};
    const MatrixOut result{out + offset, full};
    thread_local Scratch scratch;
    scratch.resize(count, dim);
    round_queries(count, dim, given, scratch.q.data());
    for (int64_t i = 0; i < count; ++i) std::fill_n(result.data + i * full, dim, 0.0f);
    for (int64_t frame = 0; frame < length[static_cast<size_t>(s)]; ++frame) {
      const int64_t place = (s * capacity + frame) * heads + head;
      const QuantizedFrame quantized{
          args.data<const uint8_t>("k_codes") + place * codes, args.data<const uint8_t>("v_codes") + place * codes,
          args.data<const float>("k_mean") + place * dim, args.data<const float>("k_scale") + place * blocks,
          args.data<const float>("v_scale") + place * blocks};
      attend_frame(count, tokens, dim, given, quantized, scratch, result);
    }
    for (int64_t i = 0; i < count; ++i)
      scale_row(result.data + i * full, dim, 1.0f / scratch.sum[static_cast<size_t>(i)]);
  });
}

}  // namespace penstock::ops
