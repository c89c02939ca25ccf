#include "ops/renoise/renoise.h"

#include "engine/cpu/noise.h"
#include "engine/cpu/vector_math.h"
#include "engine/error.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

constexpr int64_t kMaxSteps = 65536;  // a draw names its step in 16 bits

PENSTOCK_MULTIVERSION
void clean_estimate(int64_t count, const float* x, const float* flow, float sigma, float* x0) {
  for (int64_t i = 0; i < count; ++i) x0[i] = x[i] - sigma * flow[i];
}

PENSTOCK_MULTIVERSION
void mix(int64_t count, const float* x0, const float* eps, float sigma, float* x) {
  for (int64_t i = 0; i < count; ++i) x[i] = (1.0f - sigma) * x0[i] + sigma * eps[i];
}

// How many rows are noised again: what `advance` says, which next_sigma must have.
int64_t noised_rows(const OpArgs& args) {
  const std::string& advance = args.choice("advance");
  const int64_t slots = args.dim("S");
  const int64_t expected = advance == "shift" ? slots - 1 : advance == "stay" ? slots : 0;
  const int64_t rows = args.has("next_sigma") ? args.dim("R") : 0;
  if (expected > 0 && rows != expected)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "renoise: advance '", advance, "' of ", slots, " slots needs ", expected,
         " values of next_sigma, got ", rows);
  return expected;
}

}  // namespace

void renoise_cpu(const OpArgs& args, ThreadPool& pool) {
  const int64_t slots = args.dim("S"), rows = noised_rows(args), first_step = args.integer("first_step");
  if (first_step > kMaxSteps - slots)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "renoise: first_step is ", first_step, ", must be at most ", kMaxSteps - slots);
  const int64_t size = args.dim("F") * args.dim("C") * args.dim("y") * args.dim("x");
  const int64_t shift = args.choice("advance") == "shift" ? 1 : 0;
  float* x = args.data<float>("x");
  const float* flow = args.data<const float>("flow");
  const float* sigma = args.data<const float>("sigma");
  const float* next_sigma = args.data<const float>("next_sigma");
  const float* given = given_noise(args);
  const uint64_t seed = args.data<const uint64_t>("seed")[0];
  const int64_t* row_chunk = args.data<const int64_t>("row_chunk");
  float* x0 = args.data<float>("x0");

  pool.for_ranges(size, 8192, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    for (int64_t i = 0; i < slots; ++i)  // all of them first: then x may be overwritten
      clean_estimate(count, x + i * size + begin, flow + i * size + begin, sigma[i], x0 + i * size + begin);
    for (int64_t i = 0; i < rows; ++i) {
      float* target = x + (i + shift) * size + begin;
      const NoiseRow row{seed, row_chunk[i], static_cast<uint32_t>(first_step + i), NoisePurpose::kRenoise};
      if (!given) fill_normals(row, begin, end, target);
      mix(count, x0 + i * size + begin, given ? given + i * size + begin : target, next_sigma[i], target);
    }
  });
}

}  // namespace penstock::ops
