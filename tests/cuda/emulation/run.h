// Runs a kernel on all its blocks, one after the other, for the files beside this one.
#pragma once

#include <cstdio>
#include <functional>
#include <stdexcept>

#include "ptx/named_barrier.h"
#include "ptx/tma.h"
#include "ptx/wgmma.h"

namespace emulation {

inline penstock::TensorMap map_of(const penstock::TiledTensor& tensor) {
  penstock::TensorMap map{};
  map.words[0] = reinterpret_cast<uint64_t>(&tensor);
  return map;
}

// Returns null or what went wrong; `check_block` throws what is wrong about the block that was just run.
inline const char* run_kernel(
    const std::function<void()>& kernel, int threads, int blocks, size_t shared_bytes, unsigned seed, bool eager,
    const std::function<void()>& check_block = [] {}) {
  static char problem[200];
  for (int block = 0; block < blocks; ++block) try {
      penstock::ptx::all_products().clear();
      penstock::ptx::named_barriers() = {};
      run_block(kernel, threads, block, blocks, shared_bytes, seed + static_cast<unsigned>(block), eager);
      for (const auto& [thread, products] : penstock::ptx::all_products())
        if (!products.started.empty() || !products.groups.empty()) throw std::runtime_error("wgmma is not waited for");
      check_block();
    } catch (const std::exception& error) {
      std::snprintf(problem, sizeof problem, "%s", error.what());
      return problem;
    }
  return nullptr;
}

}  // namespace emulation
