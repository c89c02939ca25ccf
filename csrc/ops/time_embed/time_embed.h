// time_embed: the timestep of every slot, embedded and added to the modulation tables of all blocks and of the head.
//
//   timestep          in   f32      [S]
//   fc1_weight        in   compute  [d, Q]      fc1_bias   in  compute [d]
//   fc2_weight        in   compute  [d, d]      fc2_bias   in  compute [d]
//   proj_weight       in   compute  [6 d, d]    proj_bias  in  compute [6 d]
//   block_tables      in   compute  [B, 6, d]   head_table in  compute [2, d]
//   block_modulation  out  compute  [B, 6, S, d]
//   head_modulation   out  compute  [2, S, d]
//
// The sinusoid is concat(cos(t w_j), sin(t w_j)), w_j = 10000^(-j / (Q/2)), j = 0 .. Q/2 - 1, in double precision.
// Rows 0..5 of a block are shift1, scale1, gate1, shift2, scale2, gate2; rows of the head are shift, scale.
// Step state: reads the timesteps. FLOPs: 2 S (Q d + 7 d^2).
// Bytes (elements of compute): Q d + 7 d^2 + 6 B d + 6 B S d.
// Tuned for S = 1 to 4: every weight is read once for all slots. Source: spec 4.3, steps 2, 4 and 5.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kTimeEmbed{
    "time_embed",
    "e = fc2(silu(fc1(sinusoid(t)))); block_modulation[b,i,s] = block_tables[b,i] + proj(silu(e[s]))[i]; "
    "head_modulation[i,s] = head_table[i] + e[s]",
    {
        {"timestep", Access::kIn, DType::kF32, "S"},
        {"fc1_weight", Access::kIn, DType::kCompute, "d Q"},
        {"fc1_bias", Access::kIn, DType::kCompute, "d"},
        {"fc2_weight", Access::kIn, DType::kCompute, "d d"},
        {"fc2_bias", Access::kIn, DType::kCompute, "d"},
        {"proj_weight", Access::kIn, DType::kCompute, "6*d d"},
        {"proj_bias", Access::kIn, DType::kCompute, "6*d"},
        {"block_tables", Access::kIn, DType::kCompute, "B 6 d"},
        {"head_table", Access::kIn, DType::kCompute, "2 d"},
        {"block_modulation", Access::kOut, DType::kCompute, "B 6 S d"},
        {"head_modulation", Access::kOut, DType::kCompute, "2 S d"},
    },
    {},
    [](const Symbols& symbols) -> std::string {
      return symbols.at("Q") % 2 ? "the frequency dimension Q must be even" : "";
    },
};

void time_embed_cpu(const OpArgs& args, ThreadPool& pool);
void time_embed_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
