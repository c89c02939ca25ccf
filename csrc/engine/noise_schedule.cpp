#include "engine/noise_schedule.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/error.h"

namespace penstock {
namespace {

constexpr int kLevels = 1000;
constexpr double kShift = 8.0;

}  // namespace

float sigma_of(float timestep) {
  float nearest = 0.0f;
  double distance = INFINITY;
  for (int i = 0; i < kLevels; ++i) {
    const double u = 1.0 - static_cast<double>(i) / kLevels;
    const auto sigma = static_cast<float>(kShift * u / (1.0 + (kShift - 1.0) * u));
    const double away = std::abs(static_cast<double>(sigma * static_cast<float>(kLevels)) - timestep);
    if (away >= distance) continue;
    distance = away;
    nearest = sigma;
  }
  return nearest;
}

void set_timesteps(Session& session, const int32_t* timesteps, int64_t count) {
  const Plan& plan = session.engine().plan();
  const int passes = plan.find("timestep"), first = plan.find("first_timestep");
  if (passes < 0 || plan.find("sigma") < 0) fail(PENSTOCK_ERR_UNSUPPORTED, "timesteps: this plan has none");
  const std::vector<double>& initial = plan.tensors[passes].init;
  const int64_t clean = initial.back() == 0.0 ? 1 : 0, steps = plan.tensors[passes].elements - clean;
  if (count != steps)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, "timesteps: expected ", steps, ", one for each step, got ", count);
  std::vector<float> values(timesteps, timesteps + count);
  for (int64_t i = 0; i < count; ++i)
    if (timesteps[i] <= 0 || timesteps[i] > kLevels)
      fail(PENSTOCK_ERR_INVALID_ARGUMENT, "timesteps: expected integers in (0, ", kLevels, "], got ", timesteps[i]);
  values.resize(static_cast<size_t>(count + clean), 0.0f);
  std::vector<float> sigmas(values.size());
  std::transform(values.begin(), values.end(), sigmas.begin(), sigma_of);
  session.write("timestep", values.data(), values.size() * sizeof(float));
  session.write("sigma", sigmas.data(), sigmas.size() * sizeof(float));
  if (first >= 0) session.write("first_timestep", values.data(), sizeof(float));
}

}  // namespace penstock
