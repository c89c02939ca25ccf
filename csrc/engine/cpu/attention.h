// Softmax attention of a block of queries over the keys of one head, streaming over blocks of keys (online softmax).
#pragma once

#include <cstdint>

#include "engine/cpu/matmul.h"

namespace penstock {

// How many queries one call of `attend` should take when `queries` are to be cut into equal blocks: enough to pay for
// reading a block of keys, few enough for the scores to stay in the second-level cache.
int64_t query_block(int64_t queries);

// out[i] = sum_j softmax_j(q[i] . k[j] / sqrt(head_dim) + (j == keys - 1 ? last_bias : 0)) v[j], on the calling thread.
// Reads exactly `keys` >= 1 rows of k and v.
void attend(int64_t queries, int64_t keys, int64_t head_dim, MatrixIn q, MatrixIn k, MatrixIn v, float last_bias,
            MatrixOut out);

}  // namespace penstock
