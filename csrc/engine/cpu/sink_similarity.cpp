#include "engine/cpu/sink_similarity.h"

#include <algorithm>
#include <cmath>

#include "engine/cpu/vector_math.h"
#include "engine/thread_pool.h"

namespace penstock {
namespace {

constexpr int64_t kColumns = 256;  // of one task: the sums stay in the first-level cache

PENSTOCK_MULTIVERSION
void add_rows(int64_t rows, int64_t stride, const float* x, int64_t columns, double* sums) {
  for (int64_t row = 0; row < rows; ++row, x += stride) {
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) sums[i] += static_cast<double>(x[i]);
  }
}

// A frame whose tokens are to be added up: T rows of H D values.
struct Frame {
  const float* tokens;
  double* sums;
};

double cosine(const double* a, const double* b, int64_t count) {
  double product = 0.0, a_square = 0.0, b_square = 0.0;
  for (int64_t i = 0; i < count; ++i) {
    product += a[i] * b[i];
    a_square += a[i] * a[i];
    b_square += b[i] * b[i];
  }
  const double norms = std::sqrt(a_square) * std::sqrt(b_square);
  return norms == 0.0 ? 0.0 : product / norms;
}

}  // namespace

std::vector<double> sink_similarity(const OpArgs& args, const std::vector<int64_t>& filled, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), sinks = args.dim("Z"), capacity = args.dim("K"), tokens = args.dim("T");
  const int64_t full = args.dim("H") * args.dim("D"), frame_size = tokens * full;
  const struct {
    const char *fresh, *cache;
  } roles[] = {{"k", "k_cache"}, {"v", "v_cache"}};

  // By slot, then keys and values: the sums of the new frame and of its filled sinks.
  std::vector<double> sums(static_cast<size_t>(slots * 2 * (sinks + 1) * full), 0.0);
  const auto sums_of = [&](int64_t slot, int64_t role, int64_t frame) {
    return sums.data() + ((slot * 2 + role) * (sinks + 1) + frame) * full;
  };
  std::vector<Frame> frames;
  for (int64_t s = 0; s < slots; ++s)
    for (int64_t role = 0; role < 2 && filled[s] > 0; ++role) {
      frames.push_back({args.data<const float>(roles[role].fresh) + s * frame_size, sums_of(s, role, 0)});
      const float* cache = args.data<const float>(roles[role].cache) + s * capacity * frame_size;
      for (int64_t j = 0; j < filled[s]; ++j) frames.push_back({cache + j * frame_size, sums_of(s, role, j + 1)});
    }

  const int64_t blocks = (full + kColumns - 1) / kColumns;
  pool.for_each(static_cast<int64_t>(frames.size()) * blocks, [&](int64_t task) {
    const Frame& frame = frames[static_cast<size_t>(task / blocks)];
    const int64_t first = task % blocks * kColumns;
    add_rows(tokens, full, frame.tokens + first, std::min(kColumns, full - first), frame.sums + first);
  });

  std::vector<double> similarity(static_cast<size_t>(slots * sinks), 0.0);
  for (int64_t s = 0; s < slots; ++s)
    for (int64_t j = 0; j < filled[s]; ++j) {
      const double keys = cosine(sums_of(s, 0, 0), sums_of(s, 0, j + 1), full);
      const double values = cosine(sums_of(s, 1, 0), sums_of(s, 1, j + 1), full);
      similarity[static_cast<size_t>(s * sinks + j)] = (keys + values) / 2.0;
    }
  return similarity;
}

std::optional<int64_t> sink_to_refresh(const double* similarity, int64_t sinks, double threshold) {
  std::optional<int64_t> least;
  for (int64_t j = 0; j < sinks; ++j)
    if (similarity[j] < (least ? similarity[*least] : threshold)) least = j;
  return least;
}

}  // namespace penstock
