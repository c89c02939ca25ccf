#include <algorithm>
#include <charconv>

#include "engine/json_document.h"

namespace penstock {
namespace {

using Kind = Json::Kind;

constexpr int kMaxDepth = 64;
constexpr size_t kMaxValues = size_t{1} << 20;
constexpr size_t kMaxText = size_t{1} << 28;  // offsets in JsonNode are 32 bits

// Stands for itself in a string.
bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

// Bytes of the well-formed UTF-8 sequence of several bytes that `text` starts with; 0 if there is none.
size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  const int lead = byte(0);
  const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  // Not every second byte will do: overlong forms, surrogates and code points above U+10FFFF are out.
  const int least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const int most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (length == 0 || byte(1) < least || byte(1) > most) return 0;
  for (size_t i = 2; i < length; ++i)
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  return length;
}

void append_utf8(std::string& out, uint32_t code) {
  const int tails = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr uint32_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
  out += static_cast<char>(kLead[tails] | (code >> (6 * tails)));
  for (int i = tails - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3f));
}

class Parser {
 public:
  Parser(std::string_view text, JsonDocument& document) : text_(text), document_(document) {}

  void parse() {
    if (text_.size() > kMaxText) error(0, "expected at most ", kMaxText, " bytes of JSON, got ", text_.size());
    skip_space();
    const JsonNode root = value(0);
    place(root);
    skip_space();
    if (position_ != text_.size()) error(position_, "expected the end of the text, got ", next_text());
  }

 private:
  struct Pending {
    JsonNode node;
    size_t position;  // of its key
  };

  template <typename... Parts>
  [[noreturn]] void error(size_t position, const Parts&... parts) const {
    const std::string_view before = text_.substr(0, position);
    const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
    const auto starts_character = [](char c) { return (c & 0xc0) != 0x80; };
    fail(document_.status, document_.what, ": line ", std::count(before.begin(), before.end(), '\n') + 1, ", column ",
         std::count_if(before.begin() + line_start, before.end(), starts_character) + 1, ": ", parts...);
  }

  bool at(char c) const { return position_ < text_.size() && text_[position_] == c; }
  bool at_digit() const { return position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9'; }

  bool take(char c) {
    const bool found = at(c);
    position_ += found;
    return found;
  }

  // What lies ahead, for a message.
  std::string next_text() const {
    if (position_ == text_.size()) return "the end of the text";
    const auto byte = static_cast<unsigned char>(text_[position_]);
    constexpr char kHex[] = "0123456789abcdef";
    if (byte > 0x20 && byte < 0x7f) return {'\'', text_[position_], '\''};
    return {'b', 'y', 't', 'e', ' ', '0', 'x', kHex[byte >> 4], kHex[byte & 15]};
  }

  void skip_space() { position_ = std::min(text_.find_first_not_of(" \t\n\r", position_), text_.size()); }

  // Gives a finished value its node for good. Only now do its children learn where their parent is.
  void place(const JsonNode& node) {
    const auto index = static_cast<uint32_t>(document_.nodes.size());
    document_.nodes.push_back(node);
    if (!node.is_container()) return;
    for (uint32_t child = node.first; child != node.first + node.count; ++child) document_.nodes[child].parent = index;
  }

  JsonNode value(int depth) {
    if (++values_ > kMaxValues) error(position_, "more than ", kMaxValues, " values");
    if (at('{') || at('[')) {
      if (depth == kMaxDepth) error(position_, "nested more than ", kMaxDepth, " levels deep");
      return at('{') ? object(depth + 1) : array(depth + 1);
    }
    if (at('"')) return string();
    if (at('-') || at_digit()) return number();
    return literal();
  }

  JsonNode literal() {
    const auto is = [&](std::string_view word) { return text_.substr(position_, word.size()) == word; };
    JsonNode node;
    if (is("null")) {
      position_ += 4;
    } else if (is("true") || is("false")) {
      node.kind = Kind::kBool;
      node.integer = is("true");
      position_ += is("true") ? 4 : 5;
    } else {
      error(position_, "expected a value, got ", next_text());
    }
    return node;
  }

  JsonNode array(int depth) {
    const size_t base = pending_.size();
    ++position_;
    skip_space();
    if (take(']')) return close(Kind::kArray, base);
    do {
      skip_space();
      const JsonNode item = value(depth);
      pending_.push_back({item, 0});
      skip_space();
    } while (take(','));
    if (!take(']')) error(position_, "expected ',' or ']', got ", next_text());
    return close(Kind::kArray, base);
  }

  JsonNode object(int depth) {
    const size_t base = pending_.size();
    ++position_;
    skip_space();
    if (take('}')) return close(Kind::kObject, base);
    do {
      skip_space();
      const size_t key_position = position_;
      if (!at('"')) error(position_, "expected a key in double quotes, got ", next_text());
      const JsonNode key = string();
      skip_space();
      if (!take(':')) error(position_, "expected ':', got ", next_text());
      skip_space();
      JsonNode member = value(depth);
      member.key_first = key.first;
      member.key_count = key.count;
      pending_.push_back({member, key_position});
      skip_space();
    } while (take(','));
    if (!take('}')) error(position_, "expected ',' or '}', got ", next_text());
    reject_duplicates(base);
    return close(Kind::kObject, base);
  }

  // Moves the children collected since `base` to their final, adjacent nodes.
  JsonNode close(Kind kind, size_t base) {
    JsonNode node;
    node.kind = kind;
    node.first = static_cast<uint32_t>(document_.nodes.size());
    node.count = static_cast<uint32_t>(pending_.size() - base);
    for (size_t i = base; i < pending_.size(); ++i) place(pending_[i].node);
    pending_.resize(base);
    return node;
  }

  // By sorting: a hash table would let a file choose colliding keys and take quadratic time.
  void reject_duplicates(size_t base) const {
    std::vector<const Pending*> members(pending_.size() - base);
    for (size_t i = 0; i < members.size(); ++i) members[i] = &pending_[base + i];
    const auto key = [&](const Pending* member) { return document_.key(member->node); };
    std::sort(members.begin(), members.end(), [&](const Pending* a, const Pending* b) {
      const int order = key(a).compare(key(b));
      return order < 0 || (order == 0 && a->position < b->position);
    });
    const auto twin = std::adjacent_find(members.begin(), members.end(),
                                         [&](const Pending* a, const Pending* b) { return key(a) == key(b); });
    if (twin != members.end()) error(twin[1]->position, "duplicate key ", quoted(key(*twin)));
  }

  void digits() {
    if (!at_digit()) error(position_, "expected a digit, got ", next_text());
    while (at_digit()) ++position_;
  }

  JsonNode number() {
    const size_t start = position_;
    take('-');
    if (take('0')) {
      if (at_digit()) error(start, "a number must not have leading zeros");
    } else {
      digits();
    }
    const size_t integer_end = position_;
    if (take('.')) digits();
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      digits();
    }
    JsonNode node;
    const char* const first = text_.data() + start;
    const char* const last = text_.data() + position_;
    if (position_ == integer_end && std::from_chars(first, last, node.integer).ec == std::errc()) {
      node.kind = Kind::kInteger;
      return node;
    }
    double real = 0;
    if (std::from_chars(first, last, real).ec != std::errc()) error(start, "number out of range");
    node.kind = Kind::kReal;
    node.real = real;
    return node;
  }

  JsonNode string() {
    const size_t start = position_++;
    JsonNode node;
    node.kind = Kind::kString;
    node.first = static_cast<uint32_t>(document_.text.size());
    while (!at('"')) {
      if (position_ == text_.size()) error(start, "expected a closing '\"' for this string");
      characters();
    }
    ++position_;
    node.count = static_cast<uint32_t>(document_.text.size()) - node.first;
    return node;
  }

  // Decodes one character of a string, or a run of those that need no decoding, to the end of the document's text.
  void characters() {
    const size_t start = position_;
    while (position_ < text_.size() && is_plain(text_[position_])) ++position_;
    if (position_ == start) {
      if (at('\\')) return escape();
      if (static_cast<unsigned char>(text_[start]) < 0x20)
        error(start, "expected an escape for a control character in a string, got ", next_text());
      position_ += utf8_sequence(text_.substr(start));
      if (position_ == start) error(start, "expected valid UTF-8, got ", next_text());
    }
    document_.text.append(text_, start, position_ - start);
  }

  void escape() {
    const size_t start = position_++;
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const size_t named = position_ < text_.size() ? kNames.find(text_[position_]) : kNames.npos;
    if (named != kNames.npos) {
      document_.text += kMeanings[named];
      ++position_;
      return;
    }
    if (!take('u')) error(start, "unknown escape in a string; expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    uint32_t code = hex4();
    const bool low_follows = code >= 0xd800 && code < 0xdc00 && text_.substr(position_, 2) == "\\u";
    if (low_follows) {
      position_ += 2;
      const uint32_t low = hex4();
      code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xd800;
    }
    if (code >= 0xd800 && code < 0xe000) error(start, "expected a pair of \\u surrogates, got half of one");
    append_utf8(document_.text, code);
  }

  uint32_t hex4() {
    uint32_t code = 0;
    const std::string_view four = text_.substr(position_, 4);
    const char* const end = four.data() + four.size();
    if (four.size() != 4 || std::from_chars(four.data(), end, code, 16).ptr != end)
      error(position_, "expected four hexadecimal digits after \\u");
    position_ += 4;
    return code;
  }

  std::string_view text_;
  JsonDocument& document_;
  std::vector<Pending> pending_;  // finished values whose parents are not
  size_t position_ = 0;
  size_t values_ = 0;
};

}  // namespace

Json parse_json(std::string_view text, std::string_view what, penstock_status status) {
  auto document = std::make_shared<JsonDocument>();
  document->what = what;
  document->status = status;
  Parser(text, *document).parse();
  const auto root = static_cast<uint32_t>(document->nodes.size() - 1);
  return Json(std::move(document), root);
}

}  // namespace penstock
