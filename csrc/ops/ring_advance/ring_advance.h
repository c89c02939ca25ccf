// ring_advance: moves the stream on by one chunk. Where every slot stands, which cache frame it writes, and how much of
// the cache is valid.
//
//   chunk           inout  i64  [1]      chunks seen, without the first
//   frame_position  out    i32  [S]      position of the slot's first frame
//   row_chunk       out    i64  [S]      chunk that the slot holds; 0 is the first chunk
//   ring_write      out    i32  [B, S]   per block: cache frame that takes the slot's first frame
//   ring_length     out    i32  [B, S]   per block: valid frames after the write. Both are absent where another op
//                           (sink_refresh, ring_queue) places the chunks
//   phase           "first": chunk = 0; every slot holds chunk 0 at position 0, writes at 0, length G.
//                   "next":  chunk += 1; slot i holds chunk k = max(chunk - i, 1), a placeholder before the pipe is
//                            full
//   rebase          out    i32  [S]      what to add to the positions of the rolling keys before this chunk; mostly 0
//   frames = F per chunk, first_frames = G of the first chunk, capacity = K cache frames, sinks = Z, refresh = R
//
// With before = G + (k - 1) F frames ahead of chunk k: write = before while before + F <= K, then
// Z + (before - Z) mod (K - Z), so that the first Z frames stay for ever; length = min(before + F, K).
// Positions never end: a chunk that would begin at R or beyond begins at K - F instead, as if the cache had just been
// filled, and rebase says by how much the cached rolling keys must move so that distances stay what they are; the
// sinks keep their positions 0 .. Z - 1.
// Step state: reads chunk; writes all its other fields. FLOPs: not counted. Bytes: 16 S + 8 B S.
// Tuned for nothing: one thread. Source: spec 2.5.3 ("penstock"), 2.2, 2.6, 9.4.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kRingAdvance{
    "ring_advance",
    "chunk += 1; k = max(chunk - slot, 1); before = G + (k - 1) F; position = before, from R on again from K - F; "
    "write = before if before + F <= K else Z + (before - Z) mod (K - Z); length = min(before + F, K)",
    {
        {"chunk", Access::kInOut, DType::kI64, "1"},
        {"frame_position", Access::kOut, DType::kI32, "S"},
        {"row_chunk", Access::kOut, DType::kI64, "S"},
        {"ring_write", Access::kOut, DType::kI32, "B S", true},
        {"ring_length", Access::kOut, DType::kI32, "B S", true},
        {"rebase", Access::kOut, DType::kI32, "S"},
    },
    {
        {"phase", Attribute::Type::kChoice, "", {"first", "next"}},
        {"frames", Attribute::Type::kInt, "F"},
        {"first_frames", Attribute::Type::kInt, "G"},
        {"capacity", Attribute::Type::kInt, "K"},
        {"sinks", Attribute::Type::kInt, "Z", {}, 0},
        {"refresh", Attribute::Type::kInt, "R"},
    },
    [](const Symbols& symbols) -> std::string {
      const int64_t frames = symbols.at("F"), first = symbols.at("G"), capacity = symbols.at("K");
      const int64_t sinks = symbols.at("Z"), refresh = symbols.at("R");
      if (refresh > (1 << 24) || refresh <= capacity) return "refresh must lie between the capacity and 2^24";
      if (first > capacity) return "the first chunk's frames do not fit into the cache's capacity";
      if (frames > capacity) return "a chunk's frames do not fit into the cache's capacity";
      if (sinks >= capacity) return "there must be fewer sinks than the cache's capacity";
      if (frames > 1 && ((capacity - sinks) % frames != 0 || (first - sinks) % frames != 0))
        return "chunks would wrap: frames must divide capacity - sinks and first_frames - sinks";
      return "";
    },
};

void ring_advance_cpu(const OpArgs& args, ThreadPool& pool);
void ring_advance_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
