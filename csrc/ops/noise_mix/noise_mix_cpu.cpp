#include "ops/noise_mix/noise_mix.h"

#include "engine/cpu/noise.h"
#include "engine/thread_pool.h"

namespace penstock::ops {

void noise_mix_cpu(const OpArgs& args, ThreadPool& pool) {
  const float* latents = args.data<const float>("latents");
  const float* given = given_noise(args);
  const float scale = args.data<const float>("noise_scale")[0];
  const NoiseRow row{args.data<const uint64_t>("seed")[0], args.data<const int64_t>("row_chunk")[0], 0,
                     NoisePurpose::kInput};
  float* x = args.data<float>("x");

  pool.for_ranges(args.tensor("latents").size(), 8192, [&](int64_t begin, int64_t end) {
    if (!given) fill_normals(row, begin, end, x + begin);
    const float* eps = given ? given : x;
    for (int64_t i = begin; i < end; ++i) x[i] = scale * eps[i] + (1.0f - scale) * latents[i];
  });
}

}  // namespace penstock::ops
