// What a parsed JSON text is stored as. For json.cpp and json_parser.cpp only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/json.h"

namespace penstock {

// Flat nodes instead of a tree of vectors: 32 bytes a value, no recursion on destruction, and a parent to name paths
// by.
struct JsonNode {
  Json::Kind kind = Json::Kind::kNull;
  uint32_t parent = 0;
  uint32_t first = 0;  // array, object: node of the first child; string: offset in JsonDocument::text
  uint32_t count = 0;  // array, object: children, which lie side by side; string: bytes
  uint32_t key_first = 0;
  uint32_t key_count = 0;
  union {
    int64_t integer = 0;  // a bool too
    double real;
  };

  bool is_container() const { return kind == Json::Kind::kArray || kind == Json::Kind::kObject; }
};

struct JsonDocument {
  std::string what;
  penstock_status status;
  std::string text;             // all decoded strings and keys, end to end
  std::vector<JsonNode> nodes;  // children before their parent; the root is the last

  std::string_view key(const JsonNode& node) const {
    return std::string_view(text).substr(node.key_first, node.key_count);
  }
};

}  // namespace penstock
