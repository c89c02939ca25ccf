#include "engine/json.h"

#include <algorithm>
#include <limits>

#include "engine/json_document.h"

namespace penstock {
namespace {

using Kind = Json::Kind;

const char* kind_text(Kind kind) {
  switch (kind) {
    case Kind::kNull: return "null";
    case Kind::kBool: return "a boolean";
    case Kind::kInteger:
    case Kind::kReal: return "a number";
    case Kind::kString: return "a string";
    case Kind::kArray: return "an array";
    case Kind::kObject: return "an object";
  }
  return "nothing";
}

std::string range_text(int64_t least, int64_t most) {
  const bool bounded_above = most != std::numeric_limits<int64_t>::max();
  if (bounded_above) return cat("an integer from ", least, " to ", most);
  return least == std::numeric_limits<int64_t>::min() ? "an integer" : cat("an integer of at least ", least);
}

bool is_plain_key(std::string_view key) {
  return !key.empty() && key.size() <= 64 && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// How a node's parent names it, to put behind the parent's own path.
std::string step_text(const JsonDocument& document, const JsonNode& parent, uint32_t node) {
  if (parent.kind == Kind::kArray) return cat('[', node - parent.first, ']');
  const std::string_view key = document.key(document.nodes[node]);
  return is_plain_key(key) ? cat('.', key) : cat('[', quoted(key), ']');
}

}  // namespace

std::string quoted(std::string_view text) {
  constexpr size_t kLimit = 100;
  constexpr char kHex[] = "0123456789abcdef";
  size_t end = std::min(text.size(), kLimit);
  while (end > 0 && end < text.size() && (text[end] & 0xc0) == 0x80) --end;  // not inside a character
  std::string out = "'";
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f)
      out += c;
    else
      out.append("\\x") += {kHex[byte >> 4], kHex[byte & 15]};
  }
  return out + (end < text.size() ? "...'" : "'");
}

penstock_status Json::status() const { return document_->status; }

std::string Json::where() const {
  std::string path;
  uint32_t node = node_;
  for (const uint32_t root = static_cast<uint32_t>(document_->nodes.size()) - 1; node != root;) {
    const uint32_t parent = document_->nodes[node].parent;
    path.insert(0, step_text(*document_, document_->nodes[parent], node));
    node = parent;
  }
  if (path.empty()) return document_->what;
  return cat(document_->what, ": ", path[0] == '.' ? path.substr(1) : path);
}

void Json::fail_expected(const std::string& expected) const {
  const JsonNode& node = document_->nodes[node_];
  if (node.kind == Kind::kInteger) fail("expected ", expected, ", got ", node.integer);
  if (node.kind == Kind::kReal) fail("expected ", expected, ", got the real number ", node.real);
  fail("expected ", expected, ", got ", kind_text(node.kind));
}

const JsonNode& Json::expect(Kind kind, const char* expected) const {
  const JsonNode& node = document_->nodes[node_];
  if (node.kind != kind) fail("expected ", expected, ", got ", kind_text(node.kind));
  return node;
}

Kind Json::kind() const { return document_->nodes[node_].kind; }

bool Json::boolean() const { return expect(Kind::kBool, "a boolean").integer != 0; }

int64_t Json::integer() const {
  return integer(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
}

int64_t Json::integer(int64_t least, int64_t most) const {
  const JsonNode& node = document_->nodes[node_];
  if (node.kind != Kind::kInteger || node.integer < least || node.integer > most)
    fail_expected(range_text(least, most));
  return node.integer;
}

double Json::real() const {
  if (kind() == Kind::kInteger) return static_cast<double>(document_->nodes[node_].integer);
  return expect(Kind::kReal, "a number").real;
}

std::string Json::string() const {
  const JsonNode& node = expect(Kind::kString, "a string");
  return document_->text.substr(node.first, node.count);
}

size_t Json::size() const {
  const JsonNode& node = document_->nodes[node_];
  if (!node.is_container()) fail("expected an array or an object, got ", kind_text(node.kind));
  return node.count;
}

Json Json::operator[](size_t item) const {
  const JsonNode& array = expect(Kind::kArray, "an array");
  if (item >= array.count) fail("expected at least ", item + 1, " items, got ", array.count);
  return Json(document_, array.first + static_cast<uint32_t>(item));
}

std::vector<Json> Json::items() const {
  const JsonNode& array = expect(Kind::kArray, "an array");
  std::vector<Json> items;
  items.reserve(array.count);
  for (uint32_t i = 0; i < array.count; ++i) items.push_back(Json(document_, array.first + i));
  return items;
}

std::optional<Json> Json::find(std::string_view key) const {
  const JsonNode& object = expect(Kind::kObject, "an object");
  for (uint32_t node = object.first; node != object.first + object.count; ++node)
    if (document_->key(document_->nodes[node]) == key) return Json(document_, node);
  return std::nullopt;
}

Json Json::at(std::string_view key) const {
  std::optional<Json> found = find(key);
  if (!found) fail("missing field '", key, "'");
  return *std::move(found);
}

std::vector<std::pair<std::string, Json>> Json::members() const {
  const JsonNode& object = expect(Kind::kObject, "an object");
  std::vector<std::pair<std::string, Json>> members;
  members.reserve(object.count);
  for (uint32_t node = object.first; node != object.first + object.count; ++node)
    members.emplace_back(document_->key(document_->nodes[node]), Json(document_, node));
  return members;
}

void Json::reject_unknown(std::initializer_list<std::string_view> known) const {
  const JsonNode& object = expect(Kind::kObject, "an object");
  for (uint32_t node = object.first; node != object.first + object.count; ++node) {
    const std::string_view key = document_->key(document_->nodes[node]);
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string names;
    for (const std::string_view name : known) names += cat(names.empty() ? "" : ", ", name);
    fail("unknown field ", quoted(key), "; expected only ", names);
  }
}

}  // namespace penstock
