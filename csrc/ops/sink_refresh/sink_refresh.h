// sink_refresh: where a chunk of one frame goes in a rolling cache whose sinks are replaced when the picture changes.
//
//   k, v              in     compute  [S, T, H, D]    the new frame's keys, rotated, and values; in phase "next" only,
//   k_cache, v_cache  in     compute  [S, K T, H, D]  like these
//   row_chunk         in     i64      [S]             chunk that the slot holds, from 1 on; like these
//   frame_position    in     i32      [S]             its temporal position; like these
//   ring_next         inout  i32      [S]             rolling frame that the next chunk takes, counted from Z on
//   sink_shift        inout  i32      [S, Z]          by sink: temporal position of what lies in it, less its own, j
//   ring_write        out    i32      [S]             cache frame that takes the new frame
//   ring_length       out    i32      [S]             valid frames after the write
//   phase             "first": a stream begins. ring_next = 0, sink_shift = 0, write = 0, length = G.
//                     "next": with before = G + row_chunk - 1 frames ahead of the chunk:
//                       before < K:              write = before, length = before + 1
//                       min_j a_j < threshold:   write = argmin j, sink_shift[j] = frame_position - j, length = K
//                       else:                    write = Z + ring_next, ring_next = (ring_next + 1) mod (K - Z)
//   first_frames = G, capacity = K, sinks = Z, threshold
//
// a_j = (cos(mean K_j, mean k) + cos(mean V_j, mean v)) / 2, means over the tokens of cached sink j and of the new
// frame. A slot before the pipe is full holds chunk 1 again and again: while the cache fills, that changes no state.
// Step state: reads row_chunk, frame_position, ring_next; writes ring_next, sink_shift, ring_write, ring_length.
// FLOPs: 2 S (Z + 1) T H D. Bytes (elements of compute): 2 S (Z + 1) T H D.
// Tuned for Z = 3, T = 1024 to 3600, H D = 1536, 5120. Source: spec 2.5 (paper), 2.5.2 a, 8 #2.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kSinkRefresh{
    "sink_refresh",
    "before = G + row_chunk - 1; write = before if before < K else (argmin_j a_j if min_j a_j < threshold else "
    "Z + ring_next++ mod (K - Z)), a_j = (cos(mean K_j, mean k) + cos(mean V_j, mean v)) / 2; "
    "length = min(before + 1, K)",
    {
        {"k", Access::kIn, DType::kCompute, "S T H D", true},
        {"v", Access::kIn, DType::kCompute, "S T H D", true},
        {"k_cache", Access::kIn, DType::kCompute, "S K*T H D", true},
        {"v_cache", Access::kIn, DType::kCompute, "S K*T H D", true},
        {"row_chunk", Access::kIn, DType::kI64, "S", true},
        {"frame_position", Access::kIn, DType::kI32, "S", true},
        {"ring_next", Access::kInOut, DType::kI32, "S"},
        {"sink_shift", Access::kInOut, DType::kI32, "S Z"},
        {"ring_write", Access::kOut, DType::kI32, "S"},
        {"ring_length", Access::kOut, DType::kI32, "S"},
    },
    {
        {"phase", Attribute::Type::kChoice, "", {"first", "next"}},
        {"first_frames", Attribute::Type::kInt, "G"},
        {"capacity", Attribute::Type::kInt, "K"},
        {"sinks", Attribute::Type::kInt, "Z"},
        {"threshold", Attribute::Type::kFloat},
    },
    [](const Symbols& symbols) -> std::string {
      const int64_t first = symbols.at("G"), capacity = symbols.at("K"), sinks = symbols.at("Z");
      if (capacity > (1 << 24)) return "capacity must be at most 2^24";
      if (sinks >= capacity) return "there must be fewer sinks than the cache's capacity";
      if (first >= capacity) return "the first chunk must leave room for another frame in the cache";
      return "";
    },
};

void sink_refresh_cpu(const OpArgs& args, ThreadPool& pool);
void sink_refresh_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
