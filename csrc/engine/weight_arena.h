// Weights in device memory, shared between engines of one model. A weight is identified by its name, its stored type
// and shape, and the bytes themselves: so another packing, or a table that was computed for another size, is another
// weight, whatever it is called.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "engine/backend.h"

namespace penstock {

// Of bytes as they are stored: no accident makes two tensors alike. It does not stand up to an attacker, who could give
// both engines what he likes anyway.
using Fingerprint = std::array<uint64_t, 2>;
Fingerprint fingerprint(const void* data, size_t bytes);

// One weight on the device; its memory lives as long as any engine has it.
struct Weight {
  std::shared_ptr<Memory> block;
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape = {};
  Fingerprint content = {};
};

using WeightTable = std::map<std::string, std::shared_ptr<const Weight>, std::less<>>;

// Hands out device memory for weights, from one block of the size that is needed in all, or block by block where most
// weights are shared and nobody knows what remains.
class WeightArena {
 public:
  WeightArena(std::shared_ptr<Backend> backend, size_t first_block);

  // Uploads the bytes to memory of their own.
  std::shared_ptr<const Weight> store(DType dtype, const Shape& shape, Fingerprint content, const void* data,
                                      size_t bytes);

 private:
  void grow(size_t bytes);

  std::shared_ptr<Backend> backend_;
  std::shared_ptr<Memory> block_;
  size_t used_ = 0;
};

}  // namespace penstock
