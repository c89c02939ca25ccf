// Chooses the algorithms of an engine's matrix products by measuring them on the device.
//
// cuBLASLt's first guess is often not its fastest algorithm. Two algorithms may add in another order, so their results
// can differ in the last bits: what was chosen is therefore kept in the engine directory and used from then on. The
// environment variable PENSTOCK_IMPL=gemm=heuristic takes cuBLASLt's first guesses instead.
#pragma once

#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/cuda/device_state.h"

namespace penstock::cuda {

// Gives every product among the ops an algorithm: the one that the file in `directory` names, if cuBLASLt offers it and
// says that it can be used, or the one that is fastest now. What is measured is written to the file; a file that cannot
// be read or written costs one line of the log. Products that have an algorithm keep it. Without a directory there is
// nothing to do, unless PENSTOCK_IMPL=gemm=measured asks for a choice that lasts as long as the process.
//
// Of the ops only shapes, weights and biases are read; results go to memory of its own. Measures for kTuningSeconds at
// most; products for which no time or memory is left keep cuBLASLt's first guess, also in the file. The device must not
// be in capture; sessions on it can go on between two algorithms.
constexpr double kTuningSeconds = 2.0;
void tune_products(DeviceState& device, const std::vector<BoundOp>& ops, const std::string& directory, const Log& log);

}  // namespace penstock::cuda
