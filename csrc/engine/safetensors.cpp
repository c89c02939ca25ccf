#include "engine/safetensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "engine/error.h"
#include "engine/json.h"

namespace penstock {
namespace {

constexpr size_t kPrefix = 8;                 // bytes of the header's length, little-endian
constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();

struct DTypeName {
  const char* name;
  DType dtype;
};

constexpr std::array<DTypeName, 7> kDTypes{{{"F32", DType::kF32},
                                            {"BF16", DType::kBF16},
                                            {"F16", DType::kF16},
                                            {"U8", DType::kU8},
                                            {"I32", DType::kI32},
                                            {"I64", DType::kI64},
                                            {"U64", DType::kU64}}};

// One file while it is read. The data section is what follows the header.
class Reader {
 public:
  Reader(const void* data, size_t size, std::string_view what)
      : bytes_(static_cast<const unsigned char*>(data)), size_(size), what_(what) {}

  std::vector<SafetensorsEntry> read() {
    const size_t header_bytes = read_header_size();
    const std::string_view text(reinterpret_cast<const char*>(bytes_) + kPrefix, header_bytes);
    const Json header = parse_json(text, what_ + ": header");
    data_ = bytes_ + kPrefix + header_bytes;
    data_bytes_ = static_cast<int64_t>(size_ - kPrefix - header_bytes);
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, value] : header.members())
      if (name == "__metadata__")
        check_metadata(value);
      else
        entries.push_back(read_entry(name, value));
    check_layout(entries);
    return entries;
  }

 private:
  template <typename... Parts>
  [[noreturn]] void fail_file(const Parts&... parts) const {
    fail(PENSTOCK_ERR_BAD_FILE, what_, ": ", parts...);
  }
  template <typename... Parts>
  [[noreturn]] void fail_tensor(std::string_view name, const Parts&... parts) const {
    fail_file("tensor ", quoted(name), ": ", parts...);
  }

  size_t read_header_size() const {
    if (size_ < kPrefix) fail_file("expected a safetensors file of at least 8 bytes, got ", size_);
    uint64_t length = 0;
    for (size_t i = kPrefix; i-- > 0;) length = length << 8 | bytes_[i];
    const uint64_t limit = std::min<uint64_t>(kMaxHeader, size_ - kPrefix);
    if (length > limit) fail_file("expected a header of at most ", limit, " bytes, got length ", length);
    if (length == 0 || bytes_[kPrefix] != '{') fail_file("expected a header that starts with '{'");
    return static_cast<size_t>(length);
  }

  static void check_metadata(const Json& metadata) {
    for (const auto& [key, value] : metadata.members()) value.string();
  }

  SafetensorsEntry read_entry(const std::string& name, const Json& json) const {
    json.reject_unknown({"dtype", "shape", "data_offsets"});
    SafetensorsEntry entry;
    entry.name = name;
    const std::string dtype = json.at("dtype").string();
    entry.dtype = read_dtype(name, dtype);
    const std::vector<Json> shape = json.at("shape").items();
    if (shape.size() > PENSTOCK_MAX_DIMS)
      fail_tensor(name, "expected a shape of at most ", PENSTOCK_MAX_DIMS, " dimensions, got ", shape.size());
    for (const Json& dim : shape) entry.shape.push_back(dim.integer(0, kMaxInteger));
    const std::optional<int64_t> count = element_count(entry.shape);
    if (!count) fail_tensor(name, "shape ", shape_text(entry.shape), " has too many elements");
    entry.bytes = static_cast<size_t>(*count) * dtype_size(entry.dtype);
    place(json.at("data_offsets").items(), dtype, entry);
    return entry;
  }

  DType read_dtype(const std::string& name, const std::string& dtype) const {
    for (const DTypeName& row : kDTypes)
      if (dtype == row.name) return row.dtype;
    std::string known;
    for (const DTypeName& row : kDTypes) known += cat(known.empty() ? "" : ", ", row.name);
    fail_tensor(name, "unsupported dtype ", quoted(dtype), "; expected one of ", known);
  }

  void place(const std::vector<Json>& offsets, const std::string& dtype, SafetensorsEntry& entry) const {
    if (offsets.size() != 2) fail_tensor(entry.name, "expected data_offsets of 2 integers, got ", offsets.size());
    const int64_t begin = offsets[0].integer(0, kMaxInteger);
    const int64_t end = offsets[1].integer(0, kMaxInteger);
    const std::string range = range_text(begin, end);
    if (begin > end) fail_tensor(entry.name, "data_offsets ", range, " end before they begin");
    if (end > data_bytes_)
      fail_tensor(entry.name, "data_offsets ", range, " exceed the ", data_bytes_, " data bytes of the file");
    if (entry.bytes != static_cast<size_t>(end - begin))
      fail_tensor(entry.name, dtype, " ", shape_text(entry.shape), " takes ", entry.bytes, " bytes, but data_offsets ",
                  range, " span ", end - begin);
    entry.data = data_ + begin;
  }

  static std::string range_text(int64_t begin, int64_t end) { return cat('[', begin, ", ", end, ']'); }

  int64_t begin_of(const SafetensorsEntry& entry) const {
    return static_cast<const unsigned char*>(entry.data) - data_;
  }
  int64_t end_of(const SafetensorsEntry& entry) const { return begin_of(entry) + static_cast<int64_t>(entry.bytes); }

  // Sorts the entries by their data, which must cover the data section without overlap or hole (as the format says).
  void check_layout(std::vector<SafetensorsEntry>& entries) const {
    std::stable_sort(entries.begin(), entries.end(), [this](const SafetensorsEntry& a, const SafetensorsEntry& b) {
      return std::make_pair(begin_of(a), end_of(a)) < std::make_pair(begin_of(b), end_of(b));
    });
    int64_t covered = 0;
    for (size_t i = 0; i < entries.size(); ++i) {
      const std::string range = range_text(begin_of(entries[i]), end_of(entries[i]));
      if (begin_of(entries[i]) < covered)
        fail_tensor(entries[i].name, "data_offsets ", range, " overlap tensor ", quoted(entries[i - 1].name));
      if (begin_of(entries[i]) > covered)
        fail_tensor(entries[i].name, "data_offsets ", range, " leave a hole after byte ", covered);
      covered = end_of(entries[i]);
    }
    if (covered != data_bytes_) fail_file("expected ", covered, " data bytes, as the tensors take, got ", data_bytes_);
  }

  const unsigned char* bytes_;
  size_t size_;
  std::string what_;
  const unsigned char* data_ = nullptr;
  int64_t data_bytes_ = 0;
};

}  // namespace

Safetensors::Safetensors(const std::string& path) : file_(std::make_unique<MappedFile>(path)) {
  read(file_->data(), file_->size(), path);
}

Safetensors::Safetensors(const void* data, size_t size, std::string_view what) { read(data, size, what); }

void Safetensors::read(const void* data, size_t size, std::string_view what) {
  entries_ = Reader(data, size, what).read();
  by_name_.resize(entries_.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  std::sort(by_name_.begin(), by_name_.end(),
            [this](uint32_t a, uint32_t b) { return entries_[a].name < entries_[b].name; });
}

const SafetensorsEntry* Safetensors::find(std::string_view name) const {
  const auto found =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [this](uint32_t index, std::string_view key) { return entries_[index].name < key; });
  return found != by_name_.end() && entries_[*found].name == name ? &entries_[*found] : nullptr;
}

}  // namespace penstock
