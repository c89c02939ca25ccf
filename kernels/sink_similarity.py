"""How much a new frame resembles the sinks of a rolling cache, for sink_refresh and ring_queue:

    a_j = (cos(mean K_j, mean k) + cos(mean V_j, mean v)) / 2

A cosine does not depend on the length of its vectors, so sums over the T tokens do for means. Programs of the
statistics kernel add up the tokens of COLUMNS of the H D columns, of the new frame and then of every filled sink, and
leave the products of these sums: few columns make enough programs, and no sums have to be stored. The op's own kernel
adds the products, in double precision.

Workspace: ``products`` f32 [S, 2, 2 Z + 1, H D / COLUMNS rounded up]: by slot, and for keys and values, the square of
the new frame, then for every sink its product with the new frame and its square. Those of sinks that are not filled are
not written. Bytes (bf16): 4 S (Z + 1) T H D. FLOPs: 2 S (Z + 1) T H D.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

COLUMNS = 32
TOKENS = 64
MOST_BLOCKS = 256  # of columns: up to 8192 columns


@triton.jit
def sum_of_tokens(frame, tokens, width, column, TOKENS: tl.constexpr):
    """Sum over the tokens [T, width] of a frame, for the columns."""
    sums = tl.zeros([TOKENS, column.shape[0]], tl.float32)
    for first in range(0, tokens, TOKENS):
        token = first + tl.arange(0, TOKENS)[:, None]
        inside = (token < tokens) & (column[None, :] < width)
        sums += tl.load(frame + token * width + column[None, :], mask=inside, other=0.0).to(tl.float32)
    return tl.sum(sums, axis=0)


@triton.jit
def sink_products_kernel(
    k, v, k_cache, v_cache, seen, products, tokens, width, capacity, sinks, first_frames,
    QUEUE: tl.constexpr, COLUMNS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """seen: with QUEUE local_end i32 [S], the frames in the cache; else row_chunk i64 [S], and the sinks are compared

    once the cache is full. width: H D. Grid: (blocks of columns, 2 for keys and values, slots).
    """
    slot = tl.program_id(2)
    if QUEUE:
        filled = tl.minimum(tl.load(seen + slot), sinks)
    else:
        filled = tl.where(first_frames + tl.load(seen + slot) - 1 < capacity, 0, sinks)
    if filled > 0:
        column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
        frame_elements = tl.cast(tokens, tl.int64) * width
        new, cache = k, k_cache
        if tl.program_id(1) == 1:
            new, cache = v, v_cache
        cache += slot * capacity * frame_elements
        products += ((slot * 2 + tl.program_id(1)) * (2 * sinks + 1)) * tl.num_programs(0) + tl.program_id(0)
        fresh = sum_of_tokens(new + slot * frame_elements, tokens, width, column, TOKENS)
        tl.store(products, tl.sum(fresh * fresh))
        for sink in range(filled):
            sums = sum_of_tokens(cache + sink * frame_elements, tokens, width, column, TOKENS)
            tl.store(products + (2 * sink + 1) * tl.num_programs(0), tl.sum(fresh * sums))
            tl.store(products + (2 * sink + 2) * tl.num_programs(0), tl.sum(sums * sums))


@triton.jit
def total_of(products, blocks, MOST_BLOCKS: tl.constexpr):
    block = tl.arange(0, MOST_BLOCKS)
    return tl.sum(tl.load(products + block, mask=block < blocks, other=0.0).to(tl.float64))


@triton.jit
def cosine(products, sink, blocks, MOST_BLOCKS: tl.constexpr):
    """Of the new frame and a sink, of keys or of values; 0 with a zero vector."""
    fresh = total_of(products, blocks, MOST_BLOCKS)
    product = total_of(products + (2 * sink + 1) * blocks, blocks, MOST_BLOCKS)
    norms = tl.sqrt(fresh) * tl.sqrt(total_of(products + (2 * sink + 2) * blocks, blocks, MOST_BLOCKS))
    return tl.where(norms == 0.0, 0.0, product / norms)


@triton.jit
def sink_to_refresh(products, slot, filled, sinks, threshold, blocks, MOST_BLOCKS: tl.constexpr):
    """The least similar of a slot's sinks if it is below the threshold, which NaN never is, else -1.

    A sink that is not filled has similarity 0. blocks: of columns.
    """
    keys = products + slot * 2 * (2 * sinks + 1) * blocks
    values = keys + (2 * sinks + 1) * blocks
    least, lowest = -1, tl.full((), threshold, tl.float64)
    for sink in range(sinks):
        similarity = lowest * 0.0
        if sink < filled:
            similarity = (cosine(keys, sink, blocks, MOST_BLOCKS) + cosine(values, sink, blocks, MOST_BLOCKS)) * 0.5
        below = similarity < lowest
        least = tl.where(below, sink, least)
        lowest = tl.where(below, similarity, lowest)
    return least


def column_blocks(k) -> int:
    """Blocks of columns of k [S, T, H, D]."""
    return triton.cdiv(k.shape[2] * k.shape[3], COLUMNS)


def sink_products(k, v, k_cache, v_cache, seen, capacity: int, sinks: int, first_frames: int = 0):
    """The workspace: torch tensors in the contracts' roles and layouts; ``seen`` is local_end or row_chunk."""
    import torch

    slots, tokens, heads, dim = k.shape
    grid = (column_blocks(k), 2, slots)
    products = torch.full((slots, 2, 2 * sinks + 1, grid[0]), float("nan"), device=k.device)
    sink_products_kernel[grid](
        k, v, k_cache, v_cache, seen, products, tokens, heads * dim, capacity, sinks, first_frames,
        QUEUE=seen.dtype == torch.int32, COLUMNS=COLUMNS, TOKENS=TOKENS,
    )  # fmt: skip
    return products


def _variant(queue: bool) -> Variant:
    data = ("k", "v", "k_cache", "v_cache")
    sizes = ("tokens", "width", "capacity", "sinks", "first_frames")
    types = {**dict.fromkeys(data, "*bf16"), "seen": "*i32" if queue else "*i64", "products": "*fp32",
             **dict.fromkeys(sizes, "i32")}  # fmt: skip
    constants = {"QUEUE": queue, "COLUMNS": COLUMNS, "TOKENS": TOKENS}
    return Variant(sink_products_kernel, types, constants, divisible=(*data, "width"))


VARIANTS = [_variant(queue) for queue in (False, True)]
