"""Rings of frames inside kernels, as csrc/engine/frames.h defines them.

Whether a role is a ring is a run-time flag of the kernels, not a constant: it costs one predicate per program, where
constants would multiply the compiled forms. A plain tensor's counter is any valid pointer, and is not read.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def first_frame(counter, frames, is_ring):
    """Index of the call's frame 0 in a tensor of ``frames`` frames, whatever the counter holds."""
    first = (tl.load(counter, mask=is_ring != 0, other=0) % frames).to(tl.int32)
    return tl.where(first < 0, first + frames, first)


@triton.jit
def ring_index(first, frame, frames):
    """Index of a frame of the call, from -frames to frames - 1; the contract keeps it in this range."""
    index = first + frame
    index = tl.where(index >= frames, index - frames, index)
    return tl.where(index < 0, index + frames, index)


def ring_arguments(tensor, counter):
    """(pointer, frames, is_ring) of a torch tensor of frames and of its counter, which may be None."""
    import torch

    pointer = torch.zeros(1, dtype=torch.int64, device=tensor.device) if counter is None else counter
    return pointer, tensor.shape[0], int(counter is not None)
