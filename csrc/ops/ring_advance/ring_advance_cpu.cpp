#include "ops/ring_advance/ring_advance.h"

#include <algorithm>

#include "engine/error.h"

namespace penstock::ops {
namespace {

constexpr int64_t kMostChunks = int64_t{1} << 32;  // decades of video; a chunk times its frames stays in range

struct Place {
  int64_t chunk = 0;
  int64_t position = 0;
  int64_t write = 0;
  int64_t length = 0;
  int64_t rebase = 0;
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

Place place_of(int64_t chunk, const OpArgs& args) {
  const int64_t frames = args.dim("F"), first = args.dim("G"), capacity = args.dim("K"), sinks = args.dim("Z");
  const int64_t refresh = args.dim("R"), restart = capacity - frames;
  const int64_t before = first + (chunk - 1) * frames;
  Place place{chunk, before, before, std::min(before + frames, capacity), 0};
  if (before + frames > capacity) place.write = sinks + (before - sinks) % (capacity - sinks);
  if (before < refresh) return place;
  const int64_t first_run = ceil_div(refresh - first, frames);  // chunks before the first refresh, and between two
  const int64_t run = ceil_div(refresh - restart, frames);
  const int64_t since = chunk - 1 - first_run;
  place.position = restart + since % run * frames;
  if (since % run == 0) place.rebase = since == 0 ? restart - before : -run * frames;
  return place;
}

// Sets a slot's value in every block, if the plan takes it from here.
void fill_blocks(const OpArgs& args, const char* role, int64_t slot, int64_t value) {
  if (!args.has(role)) return;
  const int64_t slots = args.dim("S"), blocks = args.dim("B");
  for (int64_t b = 0; b < blocks; ++b) args.data<int32_t>(role)[b * slots + slot] = static_cast<int32_t>(value);
}

}  // namespace

void ring_advance_cpu(const OpArgs& args, ThreadPool&) {
  const int64_t slots = args.dim("S");
  int64_t* const chunk = args.data<int64_t>("chunk");
  const bool first = args.choice("phase") == "first";
  if (!first && (chunk[0] < 0 || chunk[0] >= kMostChunks))
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "ring_advance: chunk is ", chunk[0], ", must be from 0 to ", kMostChunks - 1);

  chunk[0] = first ? 0 : chunk[0] + 1;
  for (int64_t i = 0; i < slots; ++i) {
    const Place place = first ? Place{0, 0, 0, args.dim("G"), 0} : place_of(std::max<int64_t>(chunk[0] - i, 1), args);
    args.data<int32_t>("frame_position")[i] = static_cast<int32_t>(place.position);
    args.data<int64_t>("row_chunk")[i] = place.chunk;
    args.data<int32_t>("rebase")[i] = static_cast<int32_t>(place.rebase);
    fill_blocks(args, "ring_write", i, place.write);
    fill_blocks(args, "ring_length", i, place.length);
  }
}

}  // namespace penstock::ops
