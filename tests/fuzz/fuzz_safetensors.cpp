// libFuzzer target: a safetensors file in memory, and every tensor that it claims to hold.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/safetensors.h"

using penstock::DType;
using penstock::SafetensorsEntry;

namespace {

constexpr size_t kPrefix = 8;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

bool is_float(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16; }

void check_entry(const SafetensorsEntry& entry, const uint8_t* data, size_t size) {
  const auto* begin = static_cast<const uint8_t*>(entry.data);
  require(begin >= data && begin <= data + size, "the data begin inside the file");
  require(entry.bytes <= static_cast<size_t>(data + size - begin), "the data end inside the file");
  const auto count = penstock::element_count(entry.shape);
  require(count.has_value() && static_cast<size_t>(*count) * dtype_size(entry.dtype) == entry.bytes,
          "the shape takes as many bytes as there are");
  for (const DType target : {DType::kF32, DType::kBF16, DType::kF16}) {
    const DType to = is_float(entry.dtype) ? target : entry.dtype;
    std::vector<uint8_t> copy(static_cast<size_t>(*count) * dtype_size(to));
    penstock::convert_elements(entry.dtype, entry.data, to, copy.data(), *count);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const penstock::Safetensors file(data, size, "input");
    for (const SafetensorsEntry& entry : file.entries()) {
      require(file.find(entry.name) == &entry, "every tensor is found by its name");
      check_entry(entry, data, size);
    }
  } catch (const penstock::Error& error) {
    const std::string message = error.what();
    require(error.status() == PENSTOCK_ERR_BAD_FILE, "a malformed file is reported as such");
    require(message.rfind("input: ", 0) == 0, "the message names the file");
    require(message.find('\n') == message.npos, "the message is one line");
  }
  return 0;
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// Most mutations change the length of the header; unless its prefix follows, nothing behind that check is reached.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (size <= kPrefix || seed % 4 == 0) return size;
  size_t end = size;
  while (end > kPrefix && data[end - 1] != '}') --end;
  for (size_t i = 0; i < kPrefix; ++i) data[i] = static_cast<uint8_t>((end - kPrefix) >> (8 * i));
  return size;
}
