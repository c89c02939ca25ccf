#include "ops/motion_noise/motion_noise.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/cpu/vector_math.h"
#include "engine/error.h"
#include "engine/thread_pool.h"

namespace penstock::ops {
namespace {

constexpr float kMotionScale = 0.2f;

PENSTOCK_INLINE float round_to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

PENSTOCK_INLINE float pixel(uint8_t value) { return round_to_bf16(static_cast<float>(value) / 127.5f - 1.0f); }

// Sum of the squared differences: exact, since all of them are multiples of 2^-20 and at most 4.
PENSTOCK_MULTIVERSION
double squared_motion(int64_t count, const uint8_t* now, const uint8_t* before) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    const float difference = round_to_bf16(pixel(now[i]) - pixel(before[i]));
    sum += static_cast<double>(round_to_bf16(difference * difference));
  }
  return sum;
}

// dhat: the largest motion between consecutive frames, from 0 to 1.
double motion_of(const OpArgs& args, ThreadPool& pool) {
  const int64_t frames = args.dim("T"), rows = args.dim("Y"), width = args.dim("X") * 3;
  const uint8_t* now = args.data<const uint8_t>("frames");
  const uint8_t* previous = args.data<const uint8_t>("previous");
  std::vector<double> sums(static_cast<size_t>(frames * rows));
  pool.for_each(frames * rows, [&](int64_t row) {
    const uint8_t* before = row < rows ? previous + row * width : now + (row - rows) * width;
    sums[row] = squared_motion(width, now + row * width, before);
  });

  float largest = 0.0f;
  for (int64_t frame = 0; frame < frames; ++frame) {
    double sum = 0.0;
    for (int64_t row = 0; row < rows; ++row) sum += sums[frame * rows + row];
    const float mean = round_to_bf16(static_cast<float>(sum / static_cast<double>(rows * width)));
    largest = std::max(largest, round_to_bf16(std::sqrt(mean)));
  }
  return std::min(round_to_bf16(largest / kMotionScale), 1.0f);
}

double checked_level(const char* what, double value, double lowest) {
  if (!(value >= lowest && value <= 1.0))
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "motion_noise: ", what, " is ", value, ", must be from ", lowest, " to 1");
  return value;
}

double next_level(const OpArgs& args, double initial, double dhat) {
  double level = initial;
  const int64_t bits = args.data<const int64_t>("level_bits")[0];
  if (bits != 0) std::memcpy(&level, &bits, sizeof level);
  checked_level("level_bits", level, 0.0);
  // volatile: a fused multiply-add would round once less, and the floor of 1000 s would notice.
  const volatile double lowered = 0.1 * dhat;
  const volatile double fresh = 0.9 * (initial - lowered);
  const volatile double kept = 0.1 * level;
  return fresh + kept;
}

float sigma_of(const OpArgs& args, float timestep) {
  const float* timesteps = args.data<const float>("table_timesteps");
  const auto nearer = [&](float a, float b) { return std::fabs(a - timestep) < std::fabs(b - timestep); };
  const float* nearest = std::min_element(timesteps, timesteps + args.dim("P"), nearer);
  return args.data<const float>("table_sigmas")[nearest - timesteps];
}

}  // namespace

void motion_noise_cpu(const OpArgs& args, ThreadPool& pool) {
  const bool first = args.choice("phase") == "first";
  if (first && !args.has("first_timestep"))
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "motion_noise: phase 'first' needs first_timestep");
  const double given = static_cast<double>(args.data<const float>("initial_scale")[0]);
  const double initial = checked_level("initial_scale", std::round(given * 1e6) / 1e6, 0.1);
  const double level = first ? initial : next_level(args, initial, motion_of(args, pool));
  const float timestep = first ? args.data<const float>("first_timestep")[0]
                               : static_cast<float>(std::max(std::floor(1000.0 * level) - 100.0, 0.0));

  std::memcpy(args.data<int64_t>("level_bits"), &level, sizeof level);
  args.data<float>("noise_scale")[0] = static_cast<float>(level);
  args.data<float>("timestep")[0] = timestep;
  args.data<float>("sigma")[0] = sigma_of(args, timestep);
  const int64_t frame_bytes = args.tensor("previous").size();
  std::memcpy(args.data<uint8_t>("previous"), args.data<const uint8_t>("frames") + (args.dim("T") - 1) * frame_bytes,
              static_cast<size_t>(frame_bytes));
}

}  // namespace penstock::ops
