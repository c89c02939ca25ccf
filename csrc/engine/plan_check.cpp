// Checks of a plan that span ops: access, order, aliasing, scratch memory.
#include <algorithm>
#include <map>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/plan.h"

namespace penstock {
namespace {

constexpr int64_t kScratchUnitBytes = 2;  // the smallest compute element; runtime/scratch.py counts the same way

struct Span {
  int first = -1;
  int last = -1;
};

class PhaseCheck {
 public:
  PhaseCheck(const Plan& plan, const PlanPhase& phase, std::string_view what)
      : plan_(plan), phase_(phase), what_(what), written_(plan.tensors.size(), false) {}

  void run() {
    for (size_t i = 0; i < phase_.ops.size(); ++i) {
      check_reads(i);
      check_writes(i);
      check_aliasing(i);
    }
    check_scratch();
  }

 private:
  std::string where(size_t op) const {
    return cat(what_, ": phases.", phase_.name, "[", op, "] (", phase_.ops[op].definition->contract->name, ")");
  }

  std::string name(int tensor) const { return quoted(plan_.tensors[tensor].name); }

  Access access(const PlanOp& op, size_t role) const { return op.definition->contract->roles[role].access; }

  template <typename Visit>
  void each_tensor(size_t op, Visit visit) const {
    const PlanOp& call = phase_.ops[op];
    for (size_t role = 0; role < call.tensors.size(); ++role)
      if (call.tensors[role] >= 0) visit(call.tensors[role], access(call, role));
  }

  void check_reads(size_t op) const {
    each_tensor(op, [&](int tensor, Access access) {
      const int root = plan_.root(tensor);
      const TensorKind kind = plan_.tensors[root].kind;
      const bool must_be_written = kind == TensorKind::kScratch || kind == TensorKind::kOutput;
      if (access == Access::kOut || !must_be_written || written_[root]) return;
      const int writer = next_writer(op, root);
      if (writer < 0)
        fail(PENSTOCK_ERR_BAD_PLAN, where(op), ": reads unbound tensor ", name(root),
             ": no op of this phase writes it");
      fail(PENSTOCK_ERR_BAD_PLAN, where(op), ": reads ", name(root), " before op ", writer,
           " writes it (a cycle, or ops out of order)");
    });
  }

  int next_writer(size_t from, int root) const {
    for (size_t op = from; op < phase_.ops.size(); ++op) {
      bool writes = false;
      each_tensor(op,
                  [&](int tensor, Access access) { writes |= access != Access::kIn && plan_.root(tensor) == root; });
      if (writes) return static_cast<int>(op);
    }
    return -1;
  }

  void check_writes(size_t op) {
    each_tensor(op, [&](int tensor, Access access) {
      if (access == Access::kIn) return;
      const int root = plan_.root(tensor);
      const TensorKind kind = plan_.tensors[root].kind;
      if (kind == TensorKind::kWeight || kind == TensorKind::kInput)
        fail(PENSTOCK_ERR_BAD_PLAN, where(op), ": writes ", name(root), ", which is ",
             kind == TensorKind::kWeight ? "a weight" : "an input");
      written_[root] = true;
    });
  }

  bool overlap(int a, int b) const {
    if (plan_.root(a) != plan_.root(b)) return false;
    const PlanTensor& left = plan_.tensors[a];
    const PlanTensor& right = plan_.tensors[b];
    const int64_t left_begin = left.base >= 0 ? left.offset : 0;
    const int64_t right_begin = right.base >= 0 ? right.offset : 0;
    return left_begin < right_begin + right.elements && right_begin < left_begin + left.elements;
  }

  void check_aliasing(size_t op) const {
    const PlanOp& call = phase_.ops[op];
    for (size_t a = 0; a < call.tensors.size(); ++a)
      for (size_t b = a + 1; b < call.tensors.size(); ++b) {
        if (call.tensors[a] < 0 || call.tensors[b] < 0) continue;
        if (access(call, a) == Access::kIn && access(call, b) == Access::kIn) continue;
        if (!overlap(call.tensors[a], call.tensors[b])) continue;
        const auto& roles = call.definition->contract->roles;
        fail(PENSTOCK_ERR_BAD_PLAN, where(op), ": roles ", roles[a].name, " and ", roles[b].name, " share memory of ",
             name(plan_.root(call.tensors[a])), ", and one of them is written");
      }
  }

  std::map<int, Span> scratch_spans() const {
    std::map<int, Span> spans;
    for (size_t op = 0; op < phase_.ops.size(); ++op)
      each_tensor(op, [&](int tensor, Access) {
        const int root = plan_.root(tensor);
        if (plan_.tensors[root].kind != TensorKind::kScratch) return;
        Span& span = spans[root];
        if (span.first < 0) span.first = static_cast<int>(op);
        span.last = static_cast<int>(op);
      });
    return spans;
  }

  // Sweeps over the ops in order, with the scratch tensors alive at each of them sorted by address.
  void check_scratch() const {
    const std::map<int, Span> spans = scratch_spans();
    std::vector<std::pair<Span, int>> order;
    for (const auto& [tensor, span] : spans) order.emplace_back(span, tensor);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first.first < b.first.first; });
    std::multimap<int, int64_t> deaths;  // last op → offset
    std::map<int64_t, int> alive;        // offset → tensor
    for (const auto& [span, tensor] : order) {
      while (!deaths.empty() && deaths.begin()->first < span.first) {
        alive.erase(deaths.begin()->second);
        deaths.erase(deaths.begin());
      }
      const int64_t begin = plan_.tensors[tensor].offset;
      const int64_t end = begin + scratch_units(plan_.tensors[tensor]);
      const auto after = alive.lower_bound(begin);
      if (after != alive.end() && after->first < end) clash(tensor, after->second);
      if (after != alive.begin()) {
        const int before = std::prev(after)->second;
        if (std::prev(after)->first + scratch_units(plan_.tensors[before]) > begin) clash(tensor, before);
      }
      alive.emplace(begin, tensor);
      deaths.emplace(span.last, begin);
    }
  }

  [[noreturn]] void clash(int a, int b) const {
    fail(PENSTOCK_ERR_BAD_PLAN, what_, ": phase ", quoted(phase_.name), ": scratch tensors ", name(b), " and ", name(a),
         " are alive at the same time and share memory");
  }

  const Plan& plan_;
  const PlanPhase& phase_;
  std::string_view what_;
  std::vector<bool> written_;  // by root tensor
};

}  // namespace

int64_t scratch_units(const PlanTensor& tensor) {
  const int64_t bytes =
      tensor.dtype == DType::kCompute ? kScratchUnitBytes : static_cast<int64_t>(dtype_size(tensor.dtype));
  return (tensor.elements * bytes + kScratchUnitBytes - 1) / kScratchUnitBytes;
}

void check_plan_access(const Plan& plan, std::string_view what) {
  for (const PlanTensor& tensor : plan.tensors)
    if (tensor.kind == TensorKind::kScratch && scratch_units(tensor) > plan.scratch_size - tensor.offset)
      fail(PENSTOCK_ERR_BAD_PLAN, what, ": scratch tensor ", quoted(tensor.name), " ", shape_text(tensor.shape), " at ",
           tensor.offset, " leaves the scratch arena of ", plan.scratch_size);
  for (const PlanPhase& phase : plan.phases) PhaseCheck(plan, phase, what).run();
}

}  // namespace penstock
