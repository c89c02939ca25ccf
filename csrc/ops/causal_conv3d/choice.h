// Which kernel does a convolution: a pure function of the device, the layer and what was asked for.
#pragma once

#include <cstdint>
#include <string_view>

#include "ops/causal_conv3d/tile.h"

namespace penstock::conv {

struct Facts {
  int architecture;         // 90 for compute capability 9.0
  bool has_cuda_kernel;     // whether this build has causal_conv3d_sm90: it needs nvcc
  int64_t inputs, outputs;  // channels
  bool has_norm;            //
  bool has_bytes;           // 8-bit floats or pixels in or out
  int64_t tiles;            // that the kernel would compute
  std::string_view wanted;  // from PENSTOCK_IMPL: "triton", "cuda" or empty
};

// `implementation` is "triton" or "cuda"; empty if what was asked for cannot be had. Why is a line in any case.
struct Choice {
  std::string_view implementation, why;
};

// Set when tests/gpu/test_causal_conv3d.py has passed on a Hopper: then the kernel becomes the default there.
constexpr bool kIsVerifiedOnDevice = false;

constexpr Choice choose(const Facts& facts) {
  if (facts.wanted == "triton") return {"triton", "asked for"};
  if (!facts.wanted.empty() && facts.wanted != "cuda")
    return {"", "causal_conv3d has the implementations triton and cuda"};
  const bool is_wanted = facts.wanted == "cuda";
  const std::string_view obstacle = facts.architecture != 90 ? "the CUDA kernel is for Hopper (sm_90) alone"
                                    : !facts.has_cuda_kernel ? "this build has no CUDA C++ kernels (nvcc was missing)"
                                                             : "";
  if (!obstacle.empty()) return {is_wanted ? "" : "triton", obstacle};
  // A network also has such layers: whoever asks for the CUDA kernel gets it where it is.
  if (facts.inputs % kDepth != 0)
    return {"triton", "a copy by TMA takes 32 input channels, and padding would be waste"};
  if (widest_columns(facts.outputs) == 0)
    return {"triton", "output channels in multiples of 64 or 96 fill a wgmma exactly"};
  if (facts.has_norm && widest_columns(facts.outputs) != facts.outputs)
    return {"triton", "a norm needs all channels of a pixel in one tile"};
  if (facts.has_bytes) return {"triton", "the CUDA kernel reads and writes bf16 alone"};
  if (facts.tiles > INT32_MAX) return {"triton", "the CUDA kernel counts its tiles in 32 bits"};
  if (is_wanted) return {"cuda", "asked for"};
  if (!kIsVerifiedOnDevice) return {"triton", "the CUDA kernel has not been verified on a device"};
  return {"cuda",
          "wgmma of as many columns as a tile has channels, and pixels that are read once for all taps of a column"};
}

}  // namespace penstock::conv
