// Safetensors: the tensors of a safetensors file, without a copy.
//
// The whole header is checked on opening; the file is untrusted. Only the dtypes that an engine can hold are accepted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/mapped_file.h"
#include "engine/tensor.h"

namespace penstock {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;                 // at most PENSTOCK_MAX_DIMS
  const void* data = nullptr;  // the format aligns nothing: read by memcpy or convert_elements
  size_t bytes = 0;
};

class Safetensors {
 public:
  // Maps the file, for as long as this object lives. Throws PENSTOCK_ERR_BAD_FILE.
  explicit Safetensors(const std::string& path);

  // Reads a file that the caller holds in memory and keeps there. `what` begins every message.
  Safetensors(const void* data, size_t size, std::string_view what);

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in the order of their data
  const SafetensorsEntry* find(std::string_view name) const;                 // null if there is none

 private:
  void read(const void* data, size_t size, std::string_view what);

  std::unique_ptr<MappedFile> file_;  // null if the caller holds the bytes
  std::vector<SafetensorsEntry> entries_;
  std::vector<uint32_t> by_name_;  // sorted indices of entries_
};

}  // namespace penstock
