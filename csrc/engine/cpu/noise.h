// Noise of the streaming ops on the CPU: what the host gave, or Philox normals.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/op.h"
#include "engine/philox.h"

namespace penstock {

// The noise that the host gave to an op with the optional roles "noise" and "noise_given", or null if it gave none.
inline const float* given_noise(const OpArgs& args) {
  if (!args.has("noise")) return nullptr;
  if (args.has("noise_given") && args.data<const int32_t>("noise_given")[0] == 0) return nullptr;
  return args.data<const float>("noise");
}

// target[i - begin] = element i of the row, for i in [begin, end).
inline void fill_normals(const NoiseRow& row, int64_t begin, int64_t end, float* target) {
  for (int64_t quad = begin / 4; quad * 4 < end; ++quad) {
    const PhiloxNormals normals = philox_normals(row, static_cast<uint32_t>(quad));
    for (int64_t i = std::max(begin, quad * 4); i < std::min(end, quad * 4 + 4); ++i)
      target[i - begin] = normals.lane[i % 4];
  }
}

}  // namespace penstock
