#include "engine/lanes.h"

#include <algorithm>
#include <string_view>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/json.h"

namespace penstock {
namespace {

// What is neither encoding nor decoding belongs to the denoiser: its prompt, for instance.
int lane_of(std::string_view phase) {
  if (phase.substr(0, 6) == "encode") return 1;
  if (phase.substr(0, 6) == "decode") return 2;
  return 0;
}

}  // namespace

LanePlan::LanePlan(const Plan& plan, Schedule schedule) {
  if (schedule == Schedule::kThroughput) lanes = kLanes;
  for (const PlanPhase& phase : plan.phases) phase_lane.push_back(lanes > 1 ? lane_of(phase.name) : 0);
  home.assign(plan.tensors.size(), 0);
  scratch_size.assign(static_cast<size_t>(lanes), 0);
  collect_access(plan);
  for (size_t tensor = 0; tensor < plan.tensors.size(); ++tensor) {
    const TensorKind kind = plan.tensors[tensor].kind;
    if (kind != TensorKind::kWeight && kind != TensorKind::kView) place(plan, tensor);
  }
}

void LanePlan::collect_access(const Plan& plan) {
  for (const PlanPhase& phase : plan.phases) {
    std::vector<bool> reads(plan.tensors.size(), false), writes = reads;
    for (const PlanOp& op : phase.ops)
      for (size_t role = 0; role < op.tensors.size(); ++role) {
        if (op.tensors[role] < 0) continue;
        const auto root = static_cast<size_t>(plan.root(op.tensors[role]));
        const Access access = op.definition->contract->roles[role].access;
        if (access != Access::kOut) reads[root] = true;
        if (access != Access::kIn) writes[root] = true;
      }
    reads_.push_back(std::move(reads));
    writes_.push_back(std::move(writes));
  }
}

void LanePlan::place(const Plan& plan, size_t tensor) {
  const PlanTensor& entry = plan.tensors[tensor];
  std::vector<bool> readers(static_cast<size_t>(lanes), false), writers = readers;
  for (size_t phase = 0; phase < plan.phases.size(); ++phase) {
    const auto lane = static_cast<size_t>(phase_lane[phase]);
    if (reads_[phase][tensor]) readers[lane] = true;
    if (writes_[phase][tensor]) writers[lane] = true;
    if (entry.kind == TensorKind::kScratch && (reads_[phase][tensor] || writes_[phase][tensor]))
      scratch_size[lane] = std::max(scratch_size[lane], entry.offset + scratch_units(entry));
  }
  if (std::count(writers.begin(), writers.end(), true) > 1)
    fail(PENSTOCK_ERR_UNSUPPORTED, "schedule throughput: tensor ", quoted(entry.name),
         " is written by phases that would run side by side; use the schedule latency");
  const auto& owners = std::count(writers.begin(), writers.end(), true) ? writers : readers;
  const auto owner = std::find(owners.begin(), owners.end(), true);
  if (owner != owners.end()) home[tensor] = static_cast<int>(owner - owners.begin());
  for (int lane = 0; lane < lanes; ++lane)
    if (readers[static_cast<size_t>(lane)] && lane != home[tensor])
      hand_overs.push_back({static_cast<int>(tensor), home[tensor], lane});
}

}  // namespace penstock
