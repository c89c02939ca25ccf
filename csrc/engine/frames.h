// Frames of a video stream, channels last: [frames, Y, X, C], as a plain tensor or as a ring.
//
// In a ring, cached frames stay where they were written: an i64 step-state field counts the frames seen so far, new
// frame i lies at (counter + i) mod R, and the halo of a temporal convolution is what lies before. A ring starts as
// zeros, which is the causal zero padding of the stream's first frames.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/error.h"
#include "engine/op.h"

namespace penstock {

template <typename T>
struct FrameRing {
  T* base;
  int64_t frames;  // of the tensor
  int64_t frame_elements;
  int64_t first;  // index of frame 0
  bool is_ring;

  // Frame i of this call: 0 is the first new one, negative ones were new in earlier calls. Null for a negative frame of
  // a plain tensor, which stands for zeros.
  T* frame(int64_t i) const {
    if (!is_ring) return i < 0 ? nullptr : base + i * frame_elements;
    const int64_t index = (first + i) % frames;
    return base + (index < 0 ? index + frames : index) * frame_elements;
  }
};

// The frames of a role; `counter` names the optional role that makes a ring of it, if any. The op may then ask for the
// frames -halo to count - 1, none of which share memory.
template <typename T>
FrameRing<T> frames_of(const OpArgs& args, std::string_view role, std::string_view counter, int64_t count,
                       int64_t halo = 0) {
  const TensorView& tensor = args.tensor(role);
  FrameRing<T> ring{tensor.as<T>(), tensor.shape[0], tensor.size() / tensor.shape[0], 0,
                    !counter.empty() && args.has(counter)};
  const int64_t needed = count + (ring.is_ring ? halo : 0);
  if (needed > ring.frames)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, args.contract->name, ": ", role, " has ", ring.frames, " frames, needs ",
         needed);
  if (!ring.is_ring) return ring;
  const int64_t seen = args.data<const int64_t>(counter)[0];
  if (seen < 0)
    fail(PENSTOCK_ERR_INVALID_ARGUMENT, args.contract->name, ": ", counter, " is ", seen, ", must not be negative");
  ring.first = seen % ring.frames;
  return ring;
}

}  // namespace penstock
