// Plan: a static program of ops over named tensors, read from JSON and checked once (docs/architecture.md).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/op.h"
#include "engine/tensor.h"

namespace penstock {

enum class TensorKind { kWeight, kState, kScratch, kInput, kOutput, kView, kStep };

const char* kind_name(TensorKind kind);

// What becomes of state and step fields when a stream goes on with another configuration (runtime/plan.py).
enum class Carry { kSame, kOwn, kSlots };

struct PlanTensor {
  std::string name;
  TensorKind kind;
  DType dtype;
  Shape shape;
  int64_t elements = 0;
  int base = -1;                  // view: index of the tensor it looks into
  int64_t offset = 0;             // view: elements into its base; scratch: compute elements into the arena
  std::vector<double> init = {};  // step: one value, or one per element
  Carry carry = Carry::kSame;     // state and step
  int slot_axis = 0;              // kSlots: the axis that has one entry per cache slot
};

struct PlanOp {
  const OpDefinition* definition;
  std::vector<int> tensors;  // by role; -1 for an absent optional role
  std::vector<AttributeValue> attributes;
  Symbols symbols;
};

struct PlanPhase {
  std::string name;
  std::vector<PlanOp> ops;
};

struct Plan {
  std::string name;
  std::map<std::string, std::string> config;      // as text, to tell configurations apart
  std::vector<PlanTensor> tensors;                // step-state fields included
  std::map<std::string, int, std::less<>> index;  // not a hash table: a plan could choose colliding names
  std::vector<PlanPhase> phases;
  int64_t scratch_size = 0;  // compute elements

  int find(std::string_view name) const;  // -1 if there is none
  int find_phase(std::string_view name) const;
  int root(int tensor) const { return tensors[tensor].base >= 0 ? tensors[tensor].base : tensor; }
};

// Compute elements that a scratch tensor takes on any device.
int64_t scratch_units(const PlanTensor& tensor);

// Reads and checks a plan. `what` begins every message. Throws Error(PENSTOCK_ERR_BAD_PLAN).
Plan read_plan(std::string_view json, std::string_view what);

// Binds the symbols of an op's contract from its attributes and the shapes of its tensors (by role, null if absent),
// and checks shapes, dtypes and the contract's condition. `where` begins every message.
Symbols bind_contract(const OpContract& contract, const std::vector<const PlanTensor*>& tensors,
                      const std::vector<AttributeValue>& attributes, const std::string& where);

// Checks what contracts cannot: access to each kind of tensor, reads before writes, aliasing within an op, and that
// scratch tensors alive at the same time do not share memory.
void check_plan_access(const Plan& plan, std::string_view what);

}  // namespace penstock
