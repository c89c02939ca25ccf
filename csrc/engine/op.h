// Ops: an op is one contract with several implementations. The contract is data (roles with symbolic shapes,
// attributes); it is checked once, when a plan is read, and binds the symbols that implementations then read as
// dimensions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"

namespace penstock {

class ThreadPool;

enum class Access { kIn, kOut, kInOut };

// One tensor of an op. `shape` is a list of dimensions separated by spaces; a dimension is a product of symbols and
// integers: "S*F*h*w 3*H*D". Equal symbols must be equal over all roles and attributes of an op. Where one of the
// symbols `bytes_by` is above 0, the tensor holds bytes (u8) in place of `dtype`: 8-bit floats (e4m3 codes), or pixels.
struct Role {
  const char* name;
  Access access;
  DType dtype;
  const char* shape;
  bool optional = false;
  std::vector<const char*> bytes_by = {};
};

// One constant of an op. An integer attribute also binds the symbol of that name, if one is given, and so does a
// choice: its number, from 0. An optional choice is the first one where it is absent. An optional role that is given
// binds the symbol of its own name to 1.
struct Attribute {
  enum class Type { kInt, kFloat, kChoice };
  const char* name;
  Type type;
  const char* symbol = "";                // kInt, kChoice: symbol that takes this value
  std::vector<std::string> choices = {};  // kChoice: allowed values
  int64_t minimum = 1;                    // kInt: smallest allowed value
  bool optional = false;                  // kChoice
};

using Symbols = std::map<std::string, int64_t, std::less<>>;

struct AttributeValue {
  int64_t integer = 0;
  double real = 0.0;
  std::string text;
};

struct OpContract {
  const char* name;
  const char* formula;
  std::vector<Role> roles;
  std::vector<Attribute> attributes;
  // Conditions that products of symbols cannot express; returns what is wrong, or an empty string.
  std::string (*condition)(const Symbols& symbols) = nullptr;
};

// A bound op: contract, tensors in memory, symbols and attributes. Implementations read everything from it.
struct OpArgs {
  const OpContract* contract = nullptr;
  std::vector<TensorView> tensors;         // by role; data is null for an absent optional role
  std::vector<AttributeValue> attributes;  // by attribute
  Symbols symbols;

  bool has(std::string_view role) const { return tensor(role).data != nullptr; }
  const TensorView& tensor(std::string_view role) const;
  template <typename T>
  T* data(std::string_view role) const {
    return tensor(role).as<T>();
  }
  int64_t dim(std::string_view symbol) const;
  int64_t integer(std::string_view attribute) const;
  float real(std::string_view attribute) const;
  const std::string& choice(std::string_view attribute) const;
};

namespace cuda {
class Launcher;
}

using CpuKernel = void (*)(const OpArgs& args, ThreadPool& pool);
using CudaKernel = void (*)(const OpArgs& args, cuda::Launcher& launcher);

struct OpDefinition {
  const OpContract* contract;
  CpuKernel cpu;
  CudaKernel cuda = nullptr;  // null: not there yet
};

// Every op that this library knows, in a fixed order.
const std::vector<OpDefinition>& all_ops();
const OpDefinition* find_op(std::string_view name);

}  // namespace penstock
