// Reading a plan's JSON.
#include <cmath>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/plan.h"

namespace penstock {
namespace {

constexpr int64_t kScratchAlignment = 128;  // compute elements; runtime/scratch.py packs the same way

constexpr std::pair<const char*, TensorKind> kKinds[] = {
    {"weight", TensorKind::kWeight}, {"state", TensorKind::kState},   {"scratch", TensorKind::kScratch},
    {"input", TensorKind::kInput},   {"output", TensorKind::kOutput}, {"view", TensorKind::kView},
    {"step", TensorKind::kStep},
};

TensorKind read_kind(const Json& json) {
  const std::string name = json.string();
  for (const auto& [text, kind] : kKinds)
    if (name == text && kind != TensorKind::kStep) return kind;
  json.fail("expected weight, state, scratch, input, output or view, got ", quoted(name));
}

// Name, dtype and shape, which all tensors have.
PlanTensor read_common(const Json& record, TensorKind kind) {
  PlanTensor tensor{record.at("name").string(), kind, DType::kF32, {}};
  if (tensor.name.empty() || tensor.name.find('\0') != std::string::npos)
    record.at("name").fail("expected a name that C can hold, got ", quoted(tensor.name));
  const auto dtype = dtype_from_name(record.at("dtype").string());
  if (!dtype) record.at("dtype").fail("unknown dtype ", quoted(record.at("dtype").string()));
  tensor.dtype = *dtype;
  const Json shape = record.at("shape");
  if (shape.size() < 1 || shape.size() > PENSTOCK_MAX_DIMS)
    shape.fail("expected 1 to ", PENSTOCK_MAX_DIMS, " dimensions, got ", shape.size());
  for (const Json& dim : shape.items()) tensor.shape.push_back(dim.integer(1, int64_t{1} << 48));
  const auto elements = element_count(tensor.shape);
  if (!elements) shape.fail("too many elements: ", shape_text(tensor.shape));
  tensor.elements = *elements;
  return tensor;
}

void read_carry(const Json& record, PlanTensor& tensor) {
  const auto carry = record.find("carry");
  if (carry) {
    const std::string name = carry->string();
    if (name != "same" && name != "own" && name != "slots")
      carry->fail("expected same, own or slots, got ", quoted(name));
    tensor.carry = name == "same" ? Carry::kSame : name == "own" ? Carry::kOwn : Carry::kSlots;
  }
  if (tensor.carry == Carry::kSlots)
    tensor.slot_axis =
        static_cast<int>(record.at("slot_axis").integer(0, static_cast<int64_t>(tensor.shape.size()) - 1));
}

std::string config_text(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull: return "null";
    case Json::Kind::kBool: return value.boolean() ? "true" : "false";
    case Json::Kind::kInteger: return cat(value.integer());
    case Json::Kind::kReal: return cat(value.real());
    case Json::Kind::kString: return quoted(value.string());
    case Json::Kind::kArray: {
      std::string text;
      for (const Json& item : value.items()) text += (text.empty() ? "" : ", ") + config_text(item);
      return "[" + text + "]";
    }
    case Json::Kind::kObject: break;
  }
  return "an object";
}

double read_init_value(const Json& json, DType dtype) {
  const double value = json.real();
  const double limit = dtype == DType::kI32 ? 2147483647.0 : 9007199254740992.0;  // 2^53: exact in a double
  const bool integral = dtype == DType::kI32 || dtype == DType::kI64 || dtype == DType::kU64;
  if (integral && (value != std::floor(value) || std::fabs(value) > limit || (dtype == DType::kU64 && value < 0)))
    json.fail("expected an integer that fits ", dtype_name(dtype));
  return value;
}

PlanTensor read_step(const Json& record) {
  record.reject_unknown({"name", "dtype", "shape", "init", "carry", "slot_axis"});
  PlanTensor step = read_common(record, TensorKind::kStep);
  read_carry(record, step);
  if (step.dtype != DType::kF32 && step.dtype != DType::kI32 && step.dtype != DType::kI64 && step.dtype != DType::kU64)
    record.at("dtype").fail("expected f32, i32, i64 or u64 for step state, got ", dtype_name(step.dtype));
  const Json init = record.at("init");
  if (init.size() != 1 && static_cast<int64_t>(init.size()) != step.elements)
    init.fail("expected 1 value or one per element (", step.elements, "), got ", init.size());
  for (const Json& value : init.items()) step.init.push_back(read_init_value(value, step.dtype));
  return step;
}

PlanTensor read_tensor(const Json& record, const Plan& plan) {
  PlanTensor tensor = read_common(record, read_kind(record.at("kind")));
  if (tensor.kind == TensorKind::kScratch) {
    record.reject_unknown({"name", "dtype", "shape", "kind", "offset"});
    tensor.offset = record.at("offset").integer(0, plan.scratch_size);
    if (tensor.offset % kScratchAlignment) record.at("offset").fail("expected a multiple of ", kScratchAlignment);
  } else if (tensor.kind == TensorKind::kView) {
    record.reject_unknown({"name", "dtype", "shape", "kind", "offset", "base"});
    tensor.base = plan.find(record.at("base").string());
    if (tensor.base < 0) record.at("base").fail("no tensor ", quoted(record.at("base").string()), " before this one");
    const PlanTensor& base = plan.tensors[tensor.base];
    if (base.kind == TensorKind::kView) record.at("base").fail("a view of the view ", quoted(base.name));
    if (base.dtype != tensor.dtype)
      record.at("dtype").fail("expected ", dtype_name(base.dtype), " as in its base, got ", dtype_name(tensor.dtype));
    tensor.offset = record.at("offset").integer(0, base.elements);
    if (tensor.elements > base.elements - tensor.offset)
      record.fail("view of ", shape_text(tensor.shape), " at element ", tensor.offset, " leaves its base ",
                  quoted(base.name), " ", shape_text(base.shape));
  } else if (tensor.kind == TensorKind::kState) {
    record.reject_unknown({"name", "dtype", "shape", "kind", "carry", "slot_axis"});
    read_carry(record, tensor);
  } else {
    record.reject_unknown({"name", "dtype", "shape", "kind"});
  }
  return tensor;
}

void add_tensor(Plan& plan, PlanTensor tensor, const Json& record, int64_t& elements) {
  // The sum is bounded so that no later size in bytes can overflow.
  if (tensor.base < 0) elements += tensor.elements;
  if (elements > (int64_t{1} << 48)) record.fail("the plan's tensors have too many elements in all");
  const int position = static_cast<int>(plan.tensors.size());
  if (!plan.index.emplace(tensor.name, position).second)
    record.at("name").fail("tensor ", quoted(tensor.name), " twice");
  plan.tensors.push_back(std::move(tensor));
}

AttributeValue read_choice(const Json& json, const Attribute& attribute) {
  AttributeValue value;
  value.text = json.string();
  std::string known;
  for (; value.integer < static_cast<int64_t>(attribute.choices.size()); ++value.integer) {
    const std::string& choice = attribute.choices[static_cast<size_t>(value.integer)];
    if (choice == value.text) return value;
    known += (known.empty() ? "" : ", ") + choice;
  }
  json.fail("expected one of ", known, ", got ", quoted(value.text));
}

AttributeValue read_attribute(const Json& json, const Attribute& attribute) {
  AttributeValue value;
  if (attribute.type == Attribute::Type::kInt) {
    value.integer = json.integer(attribute.minimum, int64_t{1} << 48);
  } else if (attribute.type == Attribute::Type::kFloat) {
    value.real = json.real();
  } else {
    return read_choice(json, attribute);
  }
  return value;
}

std::vector<AttributeValue> read_attributes(const Json& record, const OpContract& contract) {
  std::vector<AttributeValue> values;
  for (const Attribute& attribute : contract.attributes) {
    if (attribute.optional && !record.find(attribute.name))
      values.push_back({0, 0.0, attribute.choices.front()});
    else
      values.push_back(read_attribute(record.at(attribute.name), attribute));
  }
  for (const auto& [name, value] : record.members()) {
    bool known = false;
    for (const Attribute& attribute : contract.attributes) known |= name == attribute.name;
    if (!known) value.fail("op '", contract.name, "' has no such attribute");
  }
  return values;
}

// The tensor of one role from "inputs" and "outputs"; -1 if the role is optional and absent.
int read_role(const Role& role, const Json& inputs, const Json& outputs, const Plan& plan) {
  const auto read = inputs.find(role.name);
  const auto written = outputs.find(role.name);
  if (!read && !written && role.optional) return -1;
  const bool reads = role.access != Access::kOut;
  const bool writes = role.access != Access::kIn;
  if (reads && !read) inputs.fail("role '", role.name, "' is missing");
  if (writes && !written) outputs.fail("role '", role.name, "' is missing");
  if (!reads && read) read->fail("role '", role.name, "' is an output only");
  if (!writes && written) written->fail("role '", role.name, "' is an input only");
  const Json& source = read ? *read : *written;
  const int tensor = plan.find(source.string());
  if (tensor < 0) source.fail("no tensor ", quoted(source.string()));
  if (reads && writes && written->string() != source.string())
    written->fail("is updated in place: expected ", quoted(source.string()), ", got ", quoted(written->string()));
  return tensor;
}

void reject_unknown_roles(const Json& side, const OpContract& contract) {
  for (const auto& [name, value] : side.members()) {
    bool known = false;
    for (const Role& role : contract.roles) known |= name == role.name;
    if (!known) value.fail("op '", contract.name, "' has no such role");
  }
}

PlanOp read_op(const Json& record, const Plan& plan) {
  record.reject_unknown({"op", "inputs", "outputs", "attributes"});
  const std::string name = record.at("op").string();
  const OpDefinition* definition = find_op(name);
  if (!definition) record.at("op").fail("unknown op ", quoted(name));
  const OpContract& contract = *definition->contract;
  const Json inputs = record.at("inputs");
  const Json outputs = record.at("outputs");
  reject_unknown_roles(inputs, contract);
  reject_unknown_roles(outputs, contract);
  PlanOp op{definition, {}, read_attributes(record.at("attributes"), contract), {}};
  std::vector<const PlanTensor*> tensors;
  for (const Role& role : contract.roles) {
    op.tensors.push_back(read_role(role, inputs, outputs, plan));
    tensors.push_back(op.tensors.back() < 0 ? nullptr : &plan.tensors[op.tensors.back()]);
  }
  op.symbols = bind_contract(contract, tensors, op.attributes, record.where() + " (" + name + ")");
  return op;
}

}  // namespace

const char* kind_name(TensorKind kind) {
  for (const auto& [text, value] : kKinds)
    if (value == kind) return text;
  return "?";
}

int Plan::find(std::string_view name) const {
  const auto found = index.find(name);
  return found == index.end() ? -1 : found->second;
}

int Plan::find_phase(std::string_view name) const {
  for (size_t i = 0; i < phases.size(); ++i)
    if (phases[i].name == name) return static_cast<int>(i);
  return -1;
}

Plan read_plan(std::string_view text, std::string_view what) {
  const Json json = parse_json(text, what, PENSTOCK_ERR_BAD_PLAN);
  json.reject_unknown({"format", "version", "name", "config", "scratch_size", "step_state", "tensors", "phases"});
  if (json.at("format").string() != "penstock-plan") json.at("format").fail("expected 'penstock-plan'");
  if (json.at("version").integer() != 1)
    json.at("version").fail("expected version 1, got ", json.at("version").integer());
  Plan plan;
  plan.name = json.at("name").string();
  if (const auto config = json.find("config"))
    for (const auto& [name, value] : config->members()) plan.config.emplace(name, config_text(value));
  plan.scratch_size = json.at("scratch_size").integer(0, int64_t{1} << 44);
  int64_t elements = 0;
  for (const Json& record : json.at("step_state").items()) add_tensor(plan, read_step(record), record, elements);
  for (const Json& record : json.at("tensors").items()) add_tensor(plan, read_tensor(record, plan), record, elements);
  for (const auto& [name, ops] : json.at("phases").members()) {
    PlanPhase phase{name, {}};
    for (const Json& record : ops.items()) phase.ops.push_back(read_op(record, plan));
    plan.phases.push_back(std::move(phase));
  }
  check_plan_access(plan, what);
  return plan;
}

}  // namespace penstock
