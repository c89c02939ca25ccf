// Which kernel does attention over the rolling cache: a pure function of the device, the shape and what was asked for.
#pragma once

#include <cstdint>
#include <string_view>

namespace penstock::attention {

struct Facts {
  int architecture;         // 90 for compute capability 9.0
  int64_t head_dim;         //
  bool has_cuda_kernel;     // whether this build has rolling_attention_sm90: it needs nvcc
  std::string_view wanted;  // from PENSTOCK_IMPL: "triton", "cuda", "cuda_ping_pong" or empty
};

// `implementation` is "triton", "cuda" or "cuda_ping_pong"; empty if what was asked for cannot be had. Why is a line in
// any case.
struct Choice {
  std::string_view implementation, why;
};

// Set when tests/gpu/test_rolling_attention.py has passed on a Hopper: then the kernel becomes the default there.
constexpr bool kIsVerifiedOnDevice = false;

constexpr Choice choose(const Facts& facts) {
  if (facts.wanted == "triton") return {"triton", "asked for"};
  const std::string_view obstacle = facts.architecture != 90 ? "the CUDA kernel is for Hopper (sm_90) alone"
                                    : facts.head_dim != 128  ? "the CUDA kernel is for heads of 128 alone"
                                    : !facts.has_cuda_kernel ? "this build has no CUDA C++ kernels (nvcc was missing)"
                                                             : "";
  if (facts.wanted == "cuda" || facts.wanted == "cuda_ping_pong")
    return obstacle.empty() ? Choice{facts.wanted, "asked for"} : Choice{"", obstacle};
  if (!facts.wanted.empty()) return {"", "rolling_attention has the implementations triton, cuda and cuda_ping_pong"};
  if (!obstacle.empty()) return {"triton", obstacle};
  if (!kIsVerifiedOnDevice) return {"triton", "the CUDA kernel has not been verified on a device"};
  return {"cuda", "TMA, wgmma and a producer warp overlap what the Triton kernel does one after the other"};
}

}  // namespace penstock::attention
