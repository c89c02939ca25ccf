// How much a new frame resembles the sinks of a rolling cache.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/op.h"

namespace penstock {

class ThreadPool;

// Of an op with the roles k, v [S, T, H, D] and k_cache, v_cache [S, K T, H, D]: element s Z + j is the similarity
// (cos(mean k[s], mean k of cache frame j) + the same of v) / 2, means over the T tokens, for the first filled[s] <= Z
// cache frames of slot s. A cosine with a zero vector is 0, and so is every element of a frame that is not filled: its
// memory is not read. NaN where keys or values are not finite.
std::vector<double> sink_similarity(const OpArgs& args, const std::vector<int64_t>& filled, ThreadPool& pool);

// The least similar of the slot's sinks, if its similarity is below the threshold; NaN never is.
std::optional<int64_t> sink_to_refresh(const double* similarity, int64_t sinks, double threshold);

}  // namespace penstock
