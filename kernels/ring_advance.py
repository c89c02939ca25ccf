"""ring_advance: moves the stream on by one chunk, the contract of csrc/ops/ring_advance/ring_advance.h, where the rule
for positions and places stands.

One program; slots one after the other. A counter that a host has set out of range is brought back into it, since nobody
on the device could be told: what other ops read from here are addresses. Bytes: 16 S + 8 B S.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

BLOCK_B = 64


@triton.jit
def place_of(chunk, frames, first_frames, capacity, sinks, refresh):
    """(position, cache frame to write, valid frames, what cached positions move by) of chunk 1 and later ones."""
    before = first_frames + (chunk - 1) * frames
    length = tl.minimum(before + frames, capacity)
    write = tl.where(before + frames > capacity, sinks + (before - sinks) % (capacity - sinks), before)
    restart = capacity - frames
    first_run = tl.cdiv(refresh - first_frames, frames)  # chunks before the first refresh, and between two
    run = tl.cdiv(refresh - restart, frames)
    since = chunk - 1 - first_run
    again = before >= refresh
    position = tl.where(again, restart + since % run * frames, before)
    shift = tl.where(since == 0, restart - before, -run * frames)
    return position, write, length, tl.where(again & (since % run == 0), shift, 0)


@triton.jit
def ring_advance_kernel(
    chunk, frame_position, row_chunk, ring_write, ring_length, rebase,
    frames, first_frames, capacity, sinks, refresh, slots, blocks,
    FIRST: tl.constexpr, HAS_RING: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    """FIRST: phase first; HAS_RING: ring_write and ring_length are there, both. Grid: 1."""
    MOST_CHUNKS: tl.constexpr = 1 << 32
    newest = tl.load(chunk)
    newest = newest * 0 if FIRST else tl.minimum(tl.maximum(newest, 0), MOST_CHUNKS - 1) + 1
    tl.store(chunk, newest)
    for slot in range(slots):
        row = tl.maximum(newest - slot, 1)
        position, write, length, shift = place_of(row, frames, first_frames, capacity, sinks, refresh)
        if FIRST:
            row, position, write, shift = newest, newest, newest, newest
            length = newest + first_frames
        tl.store(frame_position + slot, position.to(tl.int32))
        tl.store(row_chunk + slot, row)
        tl.store(rebase + slot, shift.to(tl.int32))
        if HAS_RING:
            for first in range(0, blocks, BLOCK_B):
                block = first + tl.arange(0, BLOCK_B)
                tl.store(ring_write + block * slots + slot, write.to(tl.int32), mask=block < blocks)
                tl.store(ring_length + block * slots + slot, length.to(tl.int32), mask=block < blocks)


def ring_advance(
    chunk, frame_position, row_chunk, rebase, phase: str, frames: int, first_frames: int, capacity: int, refresh: int,
    sinks: int = 0, ring_write=None, ring_length=None,
) -> None:  # fmt: skip
    """Updates chunk and writes the rest: torch tensors in the contract's roles and layouts, and its attributes."""
    has_ring = ring_write is not None
    ring_advance_kernel[(1,)](
        chunk, frame_position, row_chunk, ring_write if has_ring else rebase, ring_length if has_ring else rebase,
        rebase, frames, first_frames, capacity, sinks, refresh, len(rebase), len(ring_write) if has_ring else 0,
        FIRST=phase == "first", HAS_RING=has_ring, BLOCK_B=BLOCK_B, num_warps=1,
    )  # fmt: skip


_TYPES = {
    "chunk": "*i64", "frame_position": "*i32", "row_chunk": "*i64", "ring_write": "*i32", "ring_length": "*i32",
    "rebase": "*i32", "frames": "i32", "first_frames": "i32", "capacity": "i32", "sinks": "i32", "refresh": "i32",
    "slots": "i32", "blocks": "i32",
}  # fmt: skip
VARIANTS = [
    Variant(ring_advance_kernel, _TYPES, {"FIRST": first, "HAS_RING": ring, "BLOCK_B": BLOCK_B}, warps=1)
    for first in (True, False)
    for ring in (True, False)
]
