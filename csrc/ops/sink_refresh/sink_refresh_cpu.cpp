#include "ops/sink_refresh/sink_refresh.h"

#include <algorithm>
#include <vector>

#include "engine/cpu/sink_similarity.h"
#include "engine/cpu/step_state.h"

namespace penstock::ops {
namespace {

constexpr int64_t kMostChunks = int64_t{1} << 32;  // as ring_advance counts them
constexpr int64_t kLastPosition = (1 << 24) - 1;

int64_t frames_before(const OpArgs& args, int64_t slot) {
  const int64_t chunk = args.data<const int64_t>("row_chunk")[slot];
  if (chunk < 1 || chunk > kMostChunks)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "sink_refresh: row_chunk[", slot, "] is ", chunk, ", must be from 1 to ",
         kMostChunks);
  return args.dim("G") + chunk - 1;
}

// The cache frame that takes the new frame of a slot whose cache is full.
int64_t place_in_full_cache(const OpArgs& args, int64_t slot, const double* similarity) {
  const int64_t sinks = args.dim("Z"), rolling = args.dim("K") - sinks;
  const int64_t position = checked_state(args, "frame_position", slot, 0, kLastPosition);
  const int64_t next = checked_state(args, "ring_next", slot, 0, rolling - 1);
  if (const auto sink = sink_to_refresh(similarity + slot * sinks, sinks, args.real("threshold"))) {
    args.data<int32_t>("sink_shift")[slot * sinks + *sink] = static_cast<int32_t>(position - *sink);
    return *sink;
  }
  args.data<int32_t>("ring_next")[slot] = static_cast<int32_t>((next + 1) % rolling);
  return sinks + next;
}

void begin_stream(const OpArgs& args) {
  const int64_t slots = args.dim("S");
  std::fill_n(args.data<int32_t>("ring_next"), slots, 0);
  std::fill_n(args.data<int32_t>("sink_shift"), slots * args.dim("Z"), 0);
  std::fill_n(args.data<int32_t>("ring_write"), slots, 0);
  std::fill_n(args.data<int32_t>("ring_length"), slots, static_cast<int32_t>(args.dim("G")));
}

}  // namespace

void sink_refresh_cpu(const OpArgs& args, ThreadPool& pool) {
  if (args.choice("phase") == "first") return begin_stream(args);
  for (const char* role : {"k", "v", "k_cache", "v_cache", "row_chunk", "frame_position"})
    if (!args.has(role)) fail(PENSTOCK_ERR_BAD_PLAN, "sink_refresh: phase next needs the role ", role);

  const int64_t slots = args.dim("S"), capacity = args.dim("K");
  std::vector<int64_t> before, filled_sinks;  // sinks are compared once the cache is full, and then all are filled
  for (int64_t s = 0; s < slots; ++s) {
    before.push_back(frames_before(args, s));
    filled_sinks.push_back(before[s] < capacity ? 0 : args.dim("Z"));
  }
  const std::vector<double> similarity = sink_similarity(args, filled_sinks, pool);
  for (int64_t s = 0; s < slots; ++s) {
    const bool filling = before[s] < capacity;
    const int64_t write = filling ? before[s] : place_in_full_cache(args, s, similarity.data());
    args.data<int32_t>("ring_write")[s] = static_cast<int32_t>(write);
    args.data<int32_t>("ring_length")[s] = static_cast<int32_t>(std::min(before[s] + 1, capacity));
  }
}

}  // namespace penstock::ops
