// cross_attention: attention of all tokens over the text, whose padding rows count without being read.
//
//   q              in   compute  [M, H D]
//   k_text         in   compute  [T, H, D]
//   v_text         in   compute  [T, H, D]
//   prompt_length  in   i32      [1]        L, 0 .. T
//   out            out  compute  [M, H D]
//
// All rows from L on are equal (padding). So attention over all T rows is attention over the rows 0 .. L with
// log(T - L) added to the logit of row L; for L = T there is no padding, and it is attention over all rows.
// Step state: reads prompt_length. FLOPs: 4 M H D (L + 1). Bytes (elements of compute): 2 M H D + 2 (L + 1) H D.
// Tuned for D = 128, M = 1024 to 7200, L = 10 to 512. Source: spec 4.3, step 4d and "exact savings".
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kCrossAttention{
    "cross_attention",
    "out = softmax(q k_text^T / sqrt(D)) v_text, the rows from prompt_length on being equal",
    {
        {"q", Access::kIn, DType::kCompute, "M H*D"},
        {"k_text", Access::kIn, DType::kCompute, "T H D"},
        {"v_text", Access::kIn, DType::kCompute, "T H D"},
        {"prompt_length", Access::kIn, DType::kI32, "1"},
        {"out", Access::kOut, DType::kCompute, "M H*D"},
    },
    {},
};

void cross_attention_cpu(const OpArgs& args, ThreadPool& pool);
void cross_attention_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
