#include "engine/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/cpu/vector_math.h"

namespace penstock {
namespace {

constexpr int64_t kMaxQueries = 400;
constexpr int64_t kKeyBlock = 192;

struct Scratch {
  std::vector<float> scores;
  std::vector<float> largest;  // of each query, over the keys seen so far
  std::vector<float> sum;      // of exp(scale * (score - largest))
};

// Turns a block of scores into weights relative to the largest score so far, and rescales what was summed before.
void softmax_block(int64_t queries, int64_t block, int64_t head_dim, float scale, bool first, Scratch& scratch,
                   MatrixOut out) {
  for (int64_t i = 0; i < queries; ++i) {
    float* row = scratch.scores.data() + i * kKeyBlock;
    const float largest = row_max(row, block);
    if (first) {
      scratch.largest[i] = largest;
      scratch.sum[i] = 0.0f;
    } else if (largest > scratch.largest[i]) {
      const float factor = fast_exp(scale * (scratch.largest[i] - largest));
      scratch.largest[i] = largest;
      scratch.sum[i] *= factor;
      scale_row(out.data + i * out.stride, head_dim, factor);
    }
    scratch.sum[i] += exp_row(row, block, scale, scratch.largest[i]);
  }
}

}  // namespace

int64_t query_block(int64_t queries) {
  const int64_t blocks = std::max<int64_t>(1, (queries + kMaxQueries - 1) / kMaxQueries);
  const int64_t size = (queries + blocks - 1) / blocks;
  return (size + 11) / 12 * 12;  // whole register tiles of the matrix product
}

void attend(int64_t queries, int64_t keys, int64_t head_dim, MatrixIn q, MatrixIn k, MatrixIn v, float last_bias,
            MatrixOut out) {
  thread_local Scratch scratch;
  scratch.scores.resize(static_cast<size_t>(queries * kKeyBlock));
  scratch.largest.resize(static_cast<size_t>(queries));
  scratch.sum.resize(static_cast<size_t>(queries));

  const float root = std::sqrt(static_cast<float>(head_dim));
  const float scale = 1.0f / root;
  for (int64_t begin = 0; begin < keys; begin += kKeyBlock) {
    const int64_t block = std::min(kKeyBlock, keys - begin);
    matmul_nt(queries, block, head_dim, q, {k.data + begin * k.stride, k.stride}, {scratch.scores.data(), kKeyBlock});
    if (begin + block == keys && last_bias != 0.0f)
      for (int64_t i = 0; i < queries; ++i) scratch.scores[i * kKeyBlock + block - 1] += last_bias * root;
    softmax_block(queries, block, head_dim, scale, begin == 0, scratch, out);
    matmul_nn(queries, head_dim, block, {scratch.scores.data(), kKeyBlock}, {v.data + begin * v.stride, v.stride}, out,
              begin == 0 ? Write::kReplace : Write::kAdd);
  }
  for (int64_t i = 0; i < queries; ++i) scale_row(out.data + i * out.stride, head_dim, 1.0f / scratch.sum[i]);
}

}  // namespace penstock
