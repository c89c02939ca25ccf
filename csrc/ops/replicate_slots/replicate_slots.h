// replicate_slots: copies slot 0 of a cache to all other slots.
//
//   x  inout  compute  [S, L, H, D]
//
// The first chunk is written to one slot and seen by all. Step state: none. FLOPs: 0.
// Bytes (elements of compute): S L H D. Tuned for nothing: once per stream. Source: spec 2.2, 9.1 ("prepare").
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kReplicateSlots{
    "replicate_slots",
    "x[s] = x[0] for every slot s",
    {{"x", Access::kInOut, DType::kCompute, "S L H D"}},
    {},
};

void replicate_slots_cpu(const OpArgs& args, ThreadPool& pool);
void replicate_slots_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
