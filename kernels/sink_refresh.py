"""sink_refresh: where a chunk of one frame goes in a cache whose sinks are replaced when the picture changes, the
contract of csrc/ops/sink_refresh/sink_refresh.h.

Phase next: the products of sink_similarity.py, then a program per slot decides. Phase first: a program per slot. State
that a host has set out of range is brought back into it: the results are addresses.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .sink_similarity import MOST_BLOCKS, column_blocks, sink_products, sink_to_refresh
from .variant import Variant


@triton.jit
def sink_reset_kernel(ring_next, sink_shift, ring_write, ring_length, first_frames, sinks):
    """Grid: slots."""
    slot = tl.program_id(0)
    tl.store(ring_next + slot, 0)
    tl.store(ring_write + slot, 0)
    tl.store(ring_length + slot, first_frames)
    for sink in range(sinks):
        tl.store(sink_shift + slot * sinks + sink, 0)


@triton.jit
def sink_refresh_kernel(
    products, row_chunk, frame_position, ring_next, sink_shift, ring_write, ring_length,
    first_frames, capacity, sinks, column_blocks, threshold, MOST_BLOCKS: tl.constexpr,
):  # fmt: skip
    """Grid: slots."""
    LAST_POSITION: tl.constexpr = (1 << 24) - 1
    slot = tl.program_id(0)
    before = first_frames - 1 + tl.maximum(tl.load(row_chunk + slot), 1)
    if before < capacity:
        tl.store(ring_write + slot, before.to(tl.int32))
    else:
        sink = sink_to_refresh(products, slot, sinks, sinks, threshold, column_blocks, MOST_BLOCKS)
        if sink >= 0:
            position = tl.minimum(tl.maximum(tl.load(frame_position + slot), 0), LAST_POSITION)
            tl.store(ring_write + slot, sink)
            tl.store(sink_shift + slot * sinks + sink, position - sink)
        else:
            following = tl.minimum(tl.maximum(tl.load(ring_next + slot), 0), capacity - sinks - 1)
            tl.store(ring_write + slot, sinks + following)
            tl.store(ring_next + slot, (following + 1) % (capacity - sinks))
    tl.store(ring_length + slot, tl.minimum(before + 1, capacity).to(tl.int32))


def sink_refresh(
    ring_next, sink_shift, ring_write, ring_length, phase: str, first_frames: int, capacity: int, sinks: int,
    threshold: float, k=None, v=None, k_cache=None, v_cache=None, row_chunk=None, frame_position=None,
) -> None:  # fmt: skip
    """Updates ring_next and sink_shift, writes ring_write and ring_length: torch tensors in the contract's roles."""
    grid = (len(ring_next),)
    if phase == "first":
        sink_reset_kernel[grid](ring_next, sink_shift, ring_write, ring_length, first_frames, sinks, num_warps=1)
        return
    products = sink_products(k, v, k_cache, v_cache, row_chunk, capacity, sinks, first_frames)
    sink_refresh_kernel[grid](
        products, row_chunk, frame_position, ring_next, sink_shift, ring_write, ring_length, first_frames, capacity,
        sinks, column_blocks(k), threshold, MOST_BLOCKS=MOST_BLOCKS, num_warps=1,
    )  # fmt: skip


_STATE = ("ring_next", "sink_shift", "ring_write", "ring_length")
VARIANTS = [
    Variant(sink_reset_kernel, {**dict.fromkeys(_STATE, "*i32"), "first_frames": "i32", "sinks": "i32"}, {}, warps=1),
    Variant(
        sink_refresh_kernel,
        {"products": "*fp32", "row_chunk": "*i64", "frame_position": "*i32", **dict.fromkeys(_STATE, "*i32"),
         **dict.fromkeys(("first_frames", "capacity", "sinks", "column_blocks"), "i32"), "threshold": "fp32"},
        {"MOST_BLOCKS": MOST_BLOCKS}, warps=1,
    ),
]  # fmt: skip
