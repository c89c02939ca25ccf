// ring_queue: where a chunk goes in the rolling cache as the published code keeps it, quirks included: a queue of cache
// frames by which chunks evict each other, and sinks that join it.
//
//   k, v              in     compute  [S, T, H, D]    the new frame's keys, rotated, and values: adaptive sinks, only
//   in k_cache, v_cache  in     compute  [S, K T, H, D]  phase "next" and with F = 1. All four or none frame_position
//   in     i32      [S]             position c of the chunk's first frame; in phase "next" only global_end        inout
//   i32      [S]             position behind the frames seen local_end         inout  i32      [S]             valid
//   frames of the cache, from 0 on current_step      inout  i32      [S]             passes until the queue moves on, 1
//   .. passes queue             inout  i32      [S, Q]          frames behind the places to overwrite, front first
//   queue_size        inout  i32      [S]
//   ring_write        out    i32      [S]             cache frame that takes the chunk's first frame
//   ring_length       out    i32      [S]             valid frames after the write
//   phase  "first": a stream begins: what the passes over its first chunk, of G frames at position 0, leave behind.
//          "next":  with N = F frames, E = c + N:
//            a. if there are keys and values: a_j = (cos(mean K_j, mean k) + cos(mean V_j, mean v)) / 2 for the sinks,
//               0 for those at local_end and beyond; if min_j a_j < threshold, argmin_j + 1 goes to the queue's front
//            b. cache full (E > K or local_end = K): write = queue[0] - N, local_end = K. If current_step > 1,
//               current_step -= 1; else current_step = passes, and the front leaves the queue, to its back if it is > Z
//            c. else local_end += E - global_end, write = local_end - N; E + N goes to the back of the queue if it is
//               > Z, <= K, and not there already
//            d. global_end = E, length = local_end
//   frames = F, first_frames = G, capacity = K, sinks = Z, threshold
//   passes: of a chunk, where one cache slot serves them all; 1 where every pass has a cache slot of its own
//
// The published queue grows without end where every pass of several over one cache slot refreshes a sink. Here a sink
// that joins a full queue pushes out the sink that joined first.
// Step state: reads frame_position; updates global_end, local_end, current_step, queue, queue_size; writes ring_write,
// ring_length. FLOPs: 2 S (Z + 1) T H D. Bytes (elements of compute): 2 S (Z + 1) T H D.
// Tuned for Z = 3, T = 1024 to 3600, H D = 1536, 5120. Source: spec 2.5.2, 9.1.
#pragma once

#include "engine/op.h"

namespace penstock::ops {

inline const OpContract kRingQueue{
    "ring_queue",
    "if min_j a_j < threshold: queue = [argmin_j + 1] + queue; full: write = queue[0] - F, queue turns every `passes` "
    "calls, sinks leave it; else: write = local_end - F, c + 2 F joins the queue",
    {
        {"k", Access::kIn, DType::kCompute, "S T H D", true},
        {"v", Access::kIn, DType::kCompute, "S T H D", true},
        {"k_cache", Access::kIn, DType::kCompute, "S K*T H D", true},
        {"v_cache", Access::kIn, DType::kCompute, "S K*T H D", true},
        {"frame_position", Access::kIn, DType::kI32, "S", true},
        {"global_end", Access::kInOut, DType::kI32, "S"},
        {"local_end", Access::kInOut, DType::kI32, "S"},
        {"current_step", Access::kInOut, DType::kI32, "S"},
        {"queue", Access::kInOut, DType::kI32, "S Q"},
        {"queue_size", Access::kInOut, DType::kI32, "S"},
        {"ring_write", Access::kOut, DType::kI32, "S"},
        {"ring_length", Access::kOut, DType::kI32, "S"},
    },
    {
        {"phase", Attribute::Type::kChoice, "", {"first", "next"}},
        {"frames", Attribute::Type::kInt, "F"},
        {"first_frames", Attribute::Type::kInt, "G"},
        {"capacity", Attribute::Type::kInt, "K"},
        {"sinks", Attribute::Type::kInt, "Z", {}, 0},
        {"passes", Attribute::Type::kInt, "P"},
        {"threshold", Attribute::Type::kFloat},
    },
    [](const Symbols& symbols) -> std::string {
      const int64_t frames = symbols.at("F"), first = symbols.at("G"), capacity = symbols.at("K");
      if (capacity > (1 << 24) || symbols.at("P") > (1 << 24)) return "capacity and passes must be at most 2^24";
      if (frames > capacity || first > capacity) return "a chunk's frames do not fit into the cache's capacity";
      if (symbols.at("Z") >= capacity) return "there must be fewer sinks than the cache's capacity";
      if (symbols.count("T") && frames > 1) return "sinks adapt to chunks of one frame only";
      return "";
    },
};

void ring_queue_cpu(const OpArgs& args, ThreadPool& pool);
void ring_queue_cuda(const OpArgs& args, cuda::Launcher& launcher);

}  // namespace penstock::ops
