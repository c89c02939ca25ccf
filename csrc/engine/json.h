// Json: a strict reader of JSON text (RFC 8259) for files that nobody vouches for.
//
// A Json is a cheap handle on one value of an immutable document, which lives as long as any handle on it. Every typed
// access checks, and throws an Error that says where: "plan.json: tensors[3].name: expected a string, got a number".
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/error.h"

namespace penstock {

struct JsonDocument;
struct JsonNode;

class Json {
 public:
  enum class Kind : uint8_t { kNull, kBool, kInteger, kReal, kString, kArray, kObject };

  Kind kind() const;
  bool boolean() const;
  int64_t integer() const;
  int64_t integer(int64_t least, int64_t most) const;
  double real() const;         // any number; always finite: the reader rejects what a double cannot hold
  std::string string() const;  // UTF-8; it may hold NUL, which JSON can write as \u0000

  size_t size() const;                 // items of an array or members of an object
  Json operator[](size_t item) const;  // of an array
  std::vector<Json> items() const;     // of an array

  // Of an object. A look-up by name is linear; loops over many members use members(), which has the file's order.
  bool has(std::string_view key) const { return find(key).has_value(); }
  std::optional<Json> find(std::string_view key) const;
  Json at(std::string_view key) const;  // must be there
  std::vector<std::pair<std::string, Json>> members() const;
  void reject_unknown(std::initializer_list<std::string_view> known) const;

  std::string where() const;  // "plan.json: tensors[3].name"

  // Throws "<where>: <parts>" with the status given to parse_json: for what only the caller can check.
  template <typename... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    throw Error(status(), cat(where(), ": ", parts...));
  }

 private:
  friend Json parse_json(std::string_view, std::string_view, penstock_status);

  Json(std::shared_ptr<const JsonDocument> document, uint32_t node) : document_(std::move(document)), node_(node) {}
  penstock_status status() const;
  const JsonNode& expect(Kind kind, const char* expected) const;
  [[noreturn]] void fail_expected(const std::string& expected) const;

  std::shared_ptr<const JsonDocument> document_;
  uint32_t node_;
};

// Reads one JSON text. `what` begins every message, here and later: "<what>: line 2, column 7: ...". Objects must not
// repeat a key. Integers beyond int64 become real. At most 64 levels, 2^20 values and 256 MiB of text.
Json parse_json(std::string_view text, std::string_view what, penstock_status status = PENSTOCK_ERR_BAD_FILE);

// Untrusted text for a message: in single quotes, on one line, not too long.
std::string quoted(std::string_view text);

}  // namespace penstock
