"""ring_queue: where a chunk goes in the rolling cache as the published code keeps it, the contract of
csrc/ops/ring_queue/ring_queue.h, whose steps a, b and c are named below.

With keys and values the products of sink_similarity.py come first; then a program per slot moves its queue. A queue is
one block of values: it is read as a whole, and written one place on after a barrier. What the CPU calls an error cannot
be told here: values are brought into their range, since the results are addresses, and a queue without room stays.

A single warp, as in all kernels that update state: no thread may write a field that another has yet to read.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .sink_similarity import MOST_BLOCKS, column_blocks, sink_products, sink_to_refresh
from .variant import Variant

BLOCK_Q = 1024  # entries that a queue may have


@triton.jit
def within(value, lowest, highest):
    return tl.minimum(tl.maximum(value, lowest), highest)


@triton.jit
def push_sink(queue, size, queue_entries, end, sinks, BLOCK_Q: tl.constexpr):
    """Step a: a sink joins the queue's front; a full queue loses its oldest sink, the last one ahead of the rolling

    frames. Returns the new size.
    """
    index = tl.arange(0, BLOCK_Q)
    entries = tl.load(queue + index, mask=index < size, other=0)
    first_rolling = tl.min(tl.where(entries > sinks, index, size), axis=0)
    moving = tl.where(size == queue_entries, first_rolling - 1, size)
    if moving >= 0:
        tl.debug_barrier()
        tl.store(queue + 1 + index, entries, mask=index < moving)
        tl.store(queue, end)
        tl.debug_barrier()
    return tl.where(moving >= 0, tl.minimum(size + 1, queue_entries), size)


@triton.jit
def turn(queue, size, end, sinks, BLOCK_Q: tl.constexpr):
    """Step b: the front leaves the queue, to its back if it is a rolling frame. Returns the new size."""
    index = tl.arange(0, BLOCK_Q)
    following = tl.load(queue + 1 + index, mask=index < size - 1, other=0)
    tl.debug_barrier()
    tl.store(queue + index, following, mask=index < size - 1)
    if end > sinks:
        tl.store(queue + size - 1, end)
    return tl.where(end > sinks, size, size - 1)


@triton.jit
def ring_queue_reset_kernel(
    global_end, local_end, current_step, queue, queue_size, ring_write, ring_length, first_frames, capacity, sinks,
    passes, queue_entries,
):  # fmt: skip
    """Grid: slots."""
    slot = tl.program_id(0)
    joins = (2 * first_frames > sinks) & (2 * first_frames <= capacity) & (queue_entries > 0)
    tl.store(queue + slot * queue_entries, 2 * first_frames, mask=joins)
    tl.store(queue_size + slot, joins.to(tl.int32))
    tl.store(current_step + slot, passes)
    tl.store(global_end + slot, first_frames)
    tl.store(local_end + slot, first_frames)
    tl.store(ring_length + slot, first_frames)
    tl.store(ring_write + slot, 0)


@triton.jit
def ring_queue_kernel(
    products, frame_position, global_end, local_end, current_step, queue, queue_size, ring_write, ring_length,
    frames, capacity, sinks, passes, queue_entries, column_blocks, threshold,
    ADAPTIVE: tl.constexpr, MOST_BLOCKS: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """ADAPTIVE: there are keys and values, and products of them. Grid: slots."""
    LAST_POSITION: tl.constexpr = (1 << 24) - 1
    slot = tl.program_id(0)
    queue += slot * queue_entries
    position = within(tl.load(frame_position + slot), 0, LAST_POSITION)
    filled = within(tl.load(local_end + slot), 0, capacity)
    size = within(tl.load(queue_size + slot), 0, queue_entries)
    if ADAPTIVE:
        filled_sinks = tl.minimum(filled, sinks)
        sink = sink_to_refresh(products, slot, filled_sinks, sinks, threshold, column_blocks, MOST_BLOCKS)
        if sink >= 0:
            size = push_sink(queue, size, queue_entries, sink + 1, sinks, BLOCK_Q)
    following = position + 2 * frames
    if (position + frames > capacity) | (filled == capacity):
        end = within(tl.load(queue, mask=size > 0, other=0), frames, capacity)
        step = within(tl.load(current_step + slot), 1, passes)
        if (step == 1) & (size > 0):
            size = turn(queue, size, end, sinks, BLOCK_Q)
        tl.store(current_step + slot, tl.where(step > 1, step - 1, passes))
        filled = capacity
    else:
        seen = within(tl.load(global_end + slot), 0, LAST_POSITION)
        end = within(filled + position + frames - seen, frames, capacity)
        last = tl.load(queue + size - 1, mask=size > 0, other=0)
        joins = (following > sinks) & (following <= capacity) & (last != following) & (size < queue_entries)
        tl.store(queue + size, following, mask=joins)
        size += joins.to(tl.int32)
        filled = end
    tl.store(queue_size + slot, size)
    tl.store(global_end + slot, position + frames)
    tl.store(local_end + slot, filled)
    tl.store(ring_length + slot, filled)
    tl.store(ring_write + slot, end - frames)


def ring_queue(
    global_end, local_end, current_step, queue, queue_size, ring_write, ring_length, phase: str, frames: int,
    first_frames: int, capacity: int, sinks: int, passes: int, threshold: float, frame_position=None, k=None, v=None,
    k_cache=None, v_cache=None,
) -> None:  # fmt: skip
    """Updates the state and writes ring_write and ring_length: torch tensors in the contract's roles."""
    grid, queue_entries = (len(queue),), queue.shape[1]
    state = (global_end, local_end, current_step, queue, queue_size, ring_write, ring_length)
    if phase == "first":
        ring_queue_reset_kernel[grid](*state, first_frames, capacity, sinks, passes, queue_entries, num_warps=1)
        return
    adaptive = k is not None
    products = sink_products(k, v, k_cache, v_cache, local_end, capacity, sinks) if adaptive else frame_position
    ring_queue_kernel[grid](
        products, frame_position, *state, frames, capacity, sinks, passes, queue_entries,
        column_blocks(k) if adaptive else 0, threshold, ADAPTIVE=adaptive, MOST_BLOCKS=MOST_BLOCKS, BLOCK_Q=BLOCK_Q,
        num_warps=1,
    )  # fmt: skip


_STATE = ("global_end", "local_end", "current_step", "queue", "queue_size", "ring_write", "ring_length")
_RESET_SIZES = ("first_frames", "capacity", "sinks", "passes", "queue_entries")
_SIZES = ("frames", "capacity", "sinks", "passes", "queue_entries", "column_blocks")
_TYPES = {"products": "*fp32", "frame_position": "*i32", **dict.fromkeys(_STATE, "*i32"),
          **dict.fromkeys(_SIZES, "i32"), "threshold": "fp32"}  # fmt: skip
VARIANTS = [
    Variant(ring_queue_reset_kernel, dict.fromkeys(_STATE, "*i32") | dict.fromkeys(_RESET_SIZES, "i32"), {}, warps=1),
    *(
        Variant(
            ring_queue_kernel, _TYPES, {"ADAPTIVE": adaptive, "MOST_BLOCKS": MOST_BLOCKS, "BLOCK_Q": BLOCK_Q}, warps=1
        )
        for adaptive in (False, True)
    ),
]
