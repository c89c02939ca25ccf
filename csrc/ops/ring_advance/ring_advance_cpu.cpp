#include "ops/ring_advance/ring_advance.h"

#include <algorithm>
#include <vector>

#include "engine/error.h"

namespace penstock::ops {
namespace {

struct Place {
  int64_t chunk;
  int64_t position;
  int64_t write;
  int64_t length;
};

Place place_of(int64_t chunk, int64_t frames, int64_t first, int64_t capacity, int64_t sinks) {
  const int64_t before = first + (chunk - 1) * frames;
  const int64_t write = before + frames <= capacity ? before : sinks + (before - sinks) % (capacity - sinks);
  return {chunk, before, write, std::min(before + frames, capacity)};
}

}  // namespace

void ring_advance_cpu(const OpArgs& args, ThreadPool&) {
  const int64_t slots = args.dim("S"), blocks = args.dim("B");
  const int64_t frames = args.dim("F"), first = args.dim("G"), positions = args.dim("P");
  int64_t* const chunk = args.data<int64_t>("chunk");
  const bool restart = args.choice("phase") == "first";

  std::vector<Place> places(static_cast<size_t>(slots), Place{0, 0, 0, first});
  if (restart) {
    if (first > positions)
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "ring_advance: the first chunk ends at position ", first,
           ", the rotary table has ", positions);
  } else {
    const int64_t now = chunk[0];
    if (now < 0) fail(PENSTOCK_ERR_INVALID_ARGUMENT, "ring_advance: chunk is ", now, ", must not be negative");
    const int64_t last = first + frames > positions ? 0 : (positions - first - frames) / frames + 1;
    if (now >= last)
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "ring_advance: no chunk after chunk ", now, " fits into the ", positions,
           " positions of the rotary table");
    for (int64_t i = 0; i < slots; ++i)
      places[i] = place_of(std::max<int64_t>(now + 1 - i, 1), frames, first, args.dim("K"), args.dim("Z"));
  }

  chunk[0] = restart ? 0 : chunk[0] + 1;
  for (int64_t i = 0; i < slots; ++i) {
    args.data<int32_t>("frame_position")[i] = static_cast<int32_t>(places[i].position);
    args.data<int64_t>("row_chunk")[i] = places[i].chunk;
    for (int64_t b = 0; b < blocks; ++b) {
      args.data<int32_t>("ring_write")[b * slots + i] = static_cast<int32_t>(places[i].write);
      args.data<int32_t>("ring_length")[b * slots + i] = static_cast<int32_t>(places[i].length);
    }
  }
}

}  // namespace penstock::ops
