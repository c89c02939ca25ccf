// ring_advance: moves the stream on by one chunk. Where every slot stands, which cache frame it writes, and how much of
// the cache is valid.
//
//   chunk           inout  i64  [1]      chunks seen, without the first
//   frame_position  out    i32  [S]      position of the slot's first frame
//   row_chunk       out    i64  [S]      chunk that the slot holds; 0 is the first chunk
//   ring_write      out    i32  [B, S]   per block: cache frame that takes the slot's first frame
//   ring_length     out    i32  [B, S]   per block: valid frames after the write
//   phase           "first": chunk = 0; every slot holds chunk 0 at position 0, writes at 0, length G.
//                   "next":  chunk += 1; slot i holds chunk k = max(chunk - i, 1), a placeholder before the pipe is
//                            full
//   frames = F per chunk, first_frames = G of the first chunk, capacity = K cache frames, sinks = Z, positions = P of
//   the rotary table
//
// With before = G + (k - 1) F frames ahead of chunk k: position = before; write = before while before + F <= K, then
// Z + (before - Z) mod (K - Z), so that the first Z frames stay for ever; length = min(before + F, K).
// A chunk that does not fit into the positions is an error, and nothing is changed.
// Step state: reads chunk; writes chunk, frame_position, row_chunk, ring_write, ring_length. FLOPs: not counted.
// Bytes: 12 S + 8 B S. Tuned for nothing: one thread. Source: spec 2.5.3 ("penstock"), 2.2, 9.4.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kRingAdvance{
    "ring_advance",
    "chunk += 1; k = max(chunk - slot, 1); before = G + (k - 1) F; position = before; "
    "write = before if before + F <= K else Z + (before - Z) mod (K - Z); length = min(before + F, K)",
    {
        {"chunk", Access::kInOut, DType::kI64, "1"},
        {"frame_position", Access::kOut, DType::kI32, "S"},
        {"row_chunk", Access::kOut, DType::kI64, "S"},
        {"ring_write", Access::kOut, DType::kI32, "B S"},
        {"ring_length", Access::kOut, DType::kI32, "B S"},
    },
    {
        {"phase", Attribute::Type::kChoice, "", {"first", "next"}},
        {"frames", Attribute::Type::kInt, "F"},
        {"first_frames", Attribute::Type::kInt, "G"},
        {"capacity", Attribute::Type::kInt, "K"},
        {"sinks", Attribute::Type::kInt, "Z", {}, 0},
        {"positions", Attribute::Type::kInt, "P"},
    },
    [](const Symbols& symbols) -> std::string {
      const int64_t frames = symbols.at("F"), first = symbols.at("G"), capacity = symbols.at("K");
      const int64_t sinks = symbols.at("Z"), positions = symbols.at("P");
      if (positions > INT32_MAX || capacity > INT32_MAX) return "positions and capacity must fit 32 bits";
      if (first > capacity) return "the first chunk's frames do not fit into the cache's capacity";
      if (frames > capacity) return "a chunk's frames do not fit into the cache's capacity";
      if (sinks >= capacity) return "there must be fewer sinks than the cache's capacity";
      if (frames > 1 && ((capacity - sinks) % frames != 0 || (first - sinks) % frames != 0))
        return "chunks would wrap: frames must divide capacity - sinks and first_frames - sinks";
      return "";
    },
};

void ring_advance_cpu(const OpArgs& args, ThreadPool& pool);

}  // namespace penstock::ops
