"""advance_frames: frame += count, the contract of csrc/ops/advance_frames/advance_frames.h.

A count that no longer fits leaves the counter as it is: nobody on the device could be told. Bytes: 16.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant


@triton.jit
def advance_frames_kernel(frame, count):
    """Grid: 1."""
    seen = tl.load(frame)
    advanced = seen + count  # wraps around
    tl.store(frame, tl.where((seen >= 0) & (advanced >= 0), advanced, seen))


def advance_frames(frame, count: int) -> None:
    """Updates frame, an i64 torch tensor [1]."""
    advance_frames_kernel[(1,)](frame, count, num_warps=1)


VARIANTS = [Variant(advance_frames_kernel, {"frame": "*i64", "count": "i32"}, {}, warps=1)]
