// The partial results of attention that is dealt in equal shares (deal.h), and their merge: for every form of the
// kernel.
#pragma once

#include "engine/cuda/launch.h"

namespace penstock::attention {

// What is dealt: blocks of keys for tiles of queries. frame_tokens: keys of a cache frame as they are cut into blocks.
struct Tiles {
  int64_t slots, queries, heads, frames, frame_tokens, block_m, block_n;
};

struct Partial {
  float* weighted;  // [2 programs, block_m, D]
  float* stats;     // [2 programs, 2, block_m]
};

// Fails if there are more work units than 32 bits count.
void check_units(const Tiles& tiles, const char* op);

Partial find_partial(const cuda::Launcher& launcher, int64_t programs, int64_t block_m, int64_t dim);

// Launches merge_attention.
void merge(cuda::Launcher& launcher, const Tiles& tiles, const Partial& partial, const TensorView& ring_length,
           const TensorView& out, int64_t programs, int64_t dim);

}  // namespace penstock::attention
