"""The deal of attention's work over programs (stream-K): every program gets equally many blocks of keys.

A work unit is one block of BLOCK_N keys for one tile of BLOCK_M queries of one head and slot. Units are numbered with
the block fastest, then tile, head, slot; slot s has ceil(L_s / BLOCK_N) blocks for each of its tiles. Of all U units,
program p of P does floor(p U / P) to floor((p + 1) U / P): no two programs differ by more than one. A program that does
all blocks of a tile writes its output. A tile that is cut leaves partial results, which merge_attention adds up in the
order of the programs, so that a result depends on the lengths and P alone and is the same from run to run.

The lengths are step state, so the deal is made on the device from what they are now: a ring that is still filling costs
what it holds. A program has at most two parts of tiles: at its begin one whose first blocks another program did, kept
in place 2 p, and at its end one whose last blocks another does, in place 2 p + 1.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def first_unit(program, units, programs):
    """First unit of a program; that of the program behind the last one is the number of units."""
    return (tl.cast(program, tl.int64) * units // programs).to(tl.int32)


@triton.jit
def program_of(unit, units, programs):
    """The program that does a unit: the last one whose first unit is not behind it."""
    return ((tl.cast(unit + 1, tl.int64) * programs - 1) // units).to(tl.int32)


@triton.jit
def slot_keys(ring_length, slot, frame_tokens, capacity):
    """Valid keys of a slot. A length that the cache does not have becomes the nearest one that it has."""
    return tl.minimum(tl.maximum(tl.load(ring_length + slot), 1) * frame_tokens, capacity)


@triton.jit
def units_before(ring_length, slot, tiles, frame_tokens, capacity, BLOCK_N: tl.constexpr):
    """Units of the slots before ``slot``; tiles: of all heads of a slot."""
    units = 0
    for other in range(slot):
        units += tiles * tl.cdiv(slot_keys(ring_length, other, frame_tokens, capacity), BLOCK_N)
    return units


@triton.jit
def find_slot(ring_length, unit, slots, tiles, frame_tokens, capacity, BLOCK_N: tl.constexpr):
    """The slot of a unit, and the slot's first unit."""
    slot, first = 0, 0
    behind = 0
    for other in range(slots):
        behind += tiles * tl.cdiv(slot_keys(ring_length, other, frame_tokens, capacity), BLOCK_N)
        slot = tl.where(unit >= behind, other + 1, slot)
        first = tl.where(unit >= behind, behind, first)
    return slot, first


@triton.jit
def part_of(ring_length, unit, end, slots, tiles, frame_tokens, capacity, BLOCK_N: tl.constexpr):
    """What a program does next, from ``unit`` on and before ``end``: Part of deal.h.

    Returns the slot, its valid keys, its blocks of keys, the tile in it, the first block and the one behind the last.
    """
    slot, first_of_slot = find_slot(ring_length, unit, slots, tiles, frame_tokens, capacity, BLOCK_N)
    length = slot_keys(ring_length, slot, frame_tokens, capacity)
    blocks = tl.cdiv(length, BLOCK_N)
    first = (unit - first_of_slot) % blocks
    return slot, length, blocks, (unit - first_of_slot) // blocks, first, tl.minimum(blocks, first + end - unit)


@triton.jit
def store_part(out, tile, inside, partial, partial_stats, first, is_whole, maximum, total, weighted,
               HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr):  # fmt: skip
    """What a program has of a tile of queries: the output if it did all blocks, else a partial result.

    out, tile: the tile's first element and the offsets of all; first: the first block that the program did.
    """
    row, column = tl.arange(0, BLOCK_M), tl.arange(0, HEAD_DIM)
    if is_whole:
        tl.store(out + tile, weighted / total[:, None], mask=inside)
    else:
        part = 2 * tl.program_id(0) + (first == 0).to(tl.int32)
        tl.store(partial + part * BLOCK_M * HEAD_DIM + row[:, None] * HEAD_DIM + column[None, :], weighted)
        tl.store(partial_stats + part * 2 * BLOCK_M + row, maximum)
        tl.store(partial_stats + part * 2 * BLOCK_M + BLOCK_M + row, total)
