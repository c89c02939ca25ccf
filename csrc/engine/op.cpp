#include "engine/op.h"

#include "engine/error.h"

namespace penstock {
namespace {

template <typename Declared>
size_t index_of(const std::vector<Declared>& declared, std::string_view name, const OpContract& contract) {
  for (size_t i = 0; i < declared.size(); ++i)
    if (name == declared[i].name) return i;
  fail(PENSTOCK_ERR_INTERNAL, "op ", contract.name, " has no '", name, "'");
}

}  // namespace

const TensorView& OpArgs::tensor(std::string_view role) const {
  return tensors[index_of(contract->roles, role, *contract)];
}

int64_t OpArgs::dim(std::string_view symbol) const {
  const auto found = symbols.find(symbol);
  if (found == symbols.end()) fail(PENSTOCK_ERR_INTERNAL, "op ", contract->name, " has no symbol '", symbol, "'");
  return found->second;
}

int64_t OpArgs::integer(std::string_view attribute) const {
  return attributes[index_of(contract->attributes, attribute, *contract)].integer;
}

float OpArgs::real(std::string_view attribute) const {
  return static_cast<float>(attributes[index_of(contract->attributes, attribute, *contract)].real);
}

const std::string& OpArgs::choice(std::string_view attribute) const {
  return attributes[index_of(contract->attributes, attribute, *contract)].text;
}

const OpDefinition* find_op(std::string_view name) {
  for (const OpDefinition& op : all_ops())
    if (name == op.contract->name) return &op;
  return nullptr;
}

}  // namespace penstock
