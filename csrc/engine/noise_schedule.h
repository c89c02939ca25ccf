// The few-step schedule of flow matching: which noise level belongs to a timestep, and a session's list of them.
#pragma once

#include <cstdint>

#include "engine/session.h"

namespace penstock {

// Of the 1000 levels sigma = 8u / (1 + 7u), u = 1, 0.999, ..., the one whose 1000 sigma is nearest; the first on a tie.
// The same as runtime/schedule.py, to the bit.
float sigma_of(float timestep);

// One timestep for each denoising step of the session's plan; a clean-context pass keeps its 0. Throws
// PENSTOCK_ERR_INVALID_ARGUMENT for another count and for values outside of (0, 1000].
void set_timesteps(Session& session, const int32_t* timesteps, int64_t count);

}  // namespace penstock
