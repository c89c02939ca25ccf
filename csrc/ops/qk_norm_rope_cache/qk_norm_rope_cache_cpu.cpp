#include "ops/qk_norm_rope_cache/qk_norm_rope_cache.h"

#include <algorithm>
#include <vector>

#include "engine/cpu/row_norm.h"
#include "engine/cpu/step_state.h"
#include "engine/cpu/vector_math.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

// Rotates the pairs of every head of a row in place; `angles` holds cos, sin of each pair.
PENSTOCK_MULTIVERSION
void rotate_heads(int64_t heads, int64_t head_dim, const float* angles, float* row) {
  for (int64_t head = 0; head < heads; ++head, row += head_dim) {
#pragma omp simd
    for (int64_t j = 0; j < head_dim; j += 2) {
      const float real = row[j], imaginary = row[j + 1];
      row[j] = real * angles[j] - imaginary * angles[j + 1];
      row[j + 1] = real * angles[j + 1] + imaginary * angles[j];
    }
  }
}

// The rotary table and where the components of each axis begin.
struct Rope {
  const float* table;
  int64_t head_dim;
  int64_t spatial = head_dim / 6 * 2;  // components of the row axis, and of the column axis
  int64_t temporal = head_dim - 2 * spatial;

  void angles(int64_t frame, int64_t row, int64_t column, float* target) const {
    const float* frame_row = table + frame * head_dim;
    const float* row_row = table + row * head_dim + temporal;
    const float* column_row = table + column * head_dim + temporal + spatial;
    std::copy_n(column_row, spatial, std::copy_n(row_row, spatial, std::copy_n(frame_row, temporal, target)));
  }
};

}  // namespace

void qk_norm_rope_cache_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), frames = args.dim("F"), height = args.dim("h"), width = args.dim("w");
  const int64_t frame_tokens = args.dim("T"), capacity = args.dim("K"), heads = args.dim("H"), dim = args.dim("D");
  const int64_t full = heads * dim, slot_tokens = frames * frame_tokens;
  const Rope rope{args.data<const float>("rope"), dim};
  const float* qkv = args.data<const float>("qkv");
  const float* norm_q = args.data<const float>("norm_q");
  const float* norm_k = args.data<const float>("norm_k");
  float* q = args.data<float>("q");
  float* k_cache = args.data<float>("k_cache");
  float* v_cache = args.data<float>("v_cache");
  const float eps = args.real("eps");

  std::vector<int64_t> position, first_token;
  for (int64_t s = 0; s < slots; ++s) {
    position.push_back(checked_state(args, "frame_position", s, 0, args.dim("P") - frames));
    const int64_t frame = checked_state(args, "ring_write", s, 0, capacity - frames);
    first_token.push_back((s * capacity + frame) * frame_tokens);
  }
  pool.for_ranges(slots * slot_tokens, 32, [&](int64_t begin, int64_t end) {
    std::vector<float> angles(static_cast<size_t>(dim));
    for (int64_t m = begin; m < end; ++m) {
      const int64_t s = m / slot_tokens, token = m % slot_tokens, place = token % frame_tokens;
      rope.angles(position[s] + token / frame_tokens, place / width % height, place % width, angles.data());
      const float* source = qkv + m * 3 * full;
      float* q_row = q + m * full;
      float* k_row = k_cache + (first_token[s] + token) * full;
      rms_norm_row(full, source, eps, norm_q, q_row);
      rotate_heads(heads, dim, angles.data(), q_row);
      rms_norm_row(full, source + full, eps, norm_k, k_row);
      rotate_heads(heads, dim, angles.data(), k_row);
      std::copy_n(source + 2 * full, full, v_cache + (first_token[s] + token) * full);
    }
  });
}

}  // namespace penstock::ops
