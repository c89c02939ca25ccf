// Matching tensors against symbolic shapes.
#include <optional>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/plan.h"

namespace penstock {
namespace {

// One dimension of a contract: a product of symbols and integers, such as "S*F*h" or "3*H*D".
struct Dimension {
  std::string text;
  std::vector<std::string> symbols;
  int64_t factor = 1;
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<Dimension> parse_shape(const char* shape) {
  std::vector<Dimension> dimensions;
  for (const std::string& text : split(shape, ' ')) {
    Dimension dimension{text, {}, 1};
    for (const std::string& part : split(text, '*')) {
      if (part[0] >= '0' && part[0] <= '9')
        dimension.factor *= std::stoll(part);
      else
        dimension.symbols.push_back(part);
    }
    dimensions.push_back(dimension);
  }
  return dimensions;
}

// Product of what is known of a dimension, and its one unknown symbol, if there is exactly one.
struct Evaluation {
  std::optional<int64_t> known;  // nullopt on overflow
  int unknown = 0;
  const std::string* symbol = nullptr;
};

Evaluation evaluate(const Dimension& dimension, const Symbols& symbols) {
  int64_t product = dimension.factor;
  Evaluation result;
  for (const std::string& symbol : dimension.symbols) {
    const auto found = symbols.find(symbol);
    if (found == symbols.end()) {
      ++result.unknown;
      result.symbol = &symbol;
    } else if (__builtin_mul_overflow(product, found->second, &product)) {
      return result;
    }
  }
  result.known = product;
  return result;
}

std::string expected_text(const std::vector<Dimension>& dimensions, const Symbols& symbols) {
  std::string text = "[";
  for (size_t i = 0; i < dimensions.size(); ++i) {
    const Evaluation value = evaluate(dimensions[i], symbols);
    text += (i ? ", " : "") + dimensions[i].text;
    if (value.unknown == 0 && value.known && !dimensions[i].symbols.empty()) text += "=" + std::to_string(*value.known);
  }
  return text + "]";
}

struct Matcher {
  const OpContract& contract;
  const std::vector<const PlanTensor*>& tensors;
  const std::string& where;
  std::vector<std::vector<Dimension>> shapes = {};
  Symbols symbols = {};

  // What a role's tensor must hold.
  DType dtype(size_t role) const {
    const Role& wanted = contract.roles[role];
    for (const char* symbol : wanted.bytes_by)
      if (const auto found = symbols.find(symbol); found != symbols.end() && found->second > 0) return DType::kU8;
    return wanted.dtype;
  }

  [[noreturn]] void mismatch(size_t role, const char* hint = "") const {
    const PlanTensor& tensor = *tensors[role];
    fail(PENSTOCK_ERR_BAD_PLAN, where, ": ", contract.roles[role].name, " ", quoted(tensor.name), ": expected ",
         expected_text(shapes[role], symbols), " ", dtype_name(dtype(role)), ", got ", shape_text(tensor.shape), " ",
         dtype_name(tensor.dtype), hint);
  }

  // One round over all dimensions; true if a symbol was learnt.
  bool round() {
    bool learnt = false;
    for (size_t role = 0; role < tensors.size(); ++role) {
      if (!tensors[role]) continue;
      for (size_t i = 0; i < shapes[role].size(); ++i) learnt |= match(role, i);
    }
    return learnt;
  }

  bool match(size_t role, size_t i) {
    const int64_t actual = tensors[role]->shape[i];
    const Evaluation value = evaluate(shapes[role][i], symbols);
    if (!value.known) mismatch(role);
    if (value.unknown == 0 && *value.known != actual) mismatch(role);
    if (value.unknown != 1) return false;
    if (*value.known == 0 || actual % *value.known != 0) mismatch(role);
    symbols[*value.symbol] = actual / *value.known;
    return true;
  }
};

}  // namespace

Symbols bind_contract(const OpContract& contract, const std::vector<const PlanTensor*>& tensors,
                      const std::vector<AttributeValue>& attributes, const std::string& where) {
  Matcher matcher{contract, tensors, where};
  for (size_t i = 0; i < attributes.size(); ++i)
    if (*contract.attributes[i].symbol) matcher.symbols[contract.attributes[i].symbol] = attributes[i].integer;
  for (size_t role = 0; role < tensors.size(); ++role)
    if (tensors[role] && contract.roles[role].optional) matcher.symbols[contract.roles[role].name] = 1;
  for (size_t role = 0; role < tensors.size(); ++role) {
    matcher.shapes.push_back(parse_shape(contract.roles[role].shape));
    if (!tensors[role]) continue;
    const bool same_rank = tensors[role]->shape.size() == matcher.shapes[role].size();
    if (!same_rank || tensors[role]->dtype != matcher.dtype(role)) matcher.mismatch(role);
  }
  while (matcher.round()) {
  }
  for (size_t role = 0; role < tensors.size(); ++role)
    if (tensors[role])
      for (const Dimension& dimension : matcher.shapes[role])
        if (evaluate(dimension, matcher.symbols).unknown) matcher.mismatch(role, " (the shapes leave symbols open)");
  if (contract.condition) {
    const std::string problem = contract.condition(matcher.symbols);
    if (!problem.empty()) fail(PENSTOCK_ERR_BAD_PLAN, where, ": ", problem);
  }
  return matcher.symbols;
}

}  // namespace penstock
