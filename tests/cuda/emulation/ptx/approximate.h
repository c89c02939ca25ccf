// csrc/ptx/approximate.h, emulated.
#pragma once

#include <cmath>

namespace penstock::ptx {

inline float reciprocal(float x) { return 1.0f / x; }
inline float reciprocal_root(float x) { return 1.0f / std::sqrt(x); }

}  // namespace penstock::ptx
