"""quantize_cache: the newest frames of the rolling cache in 8 bits, for rolling_attention_fp8.

k_cache, v_cache [S, K T, H, D]; ring_write, ring_length, rebase i32 [S], read on the device; k_codes u8
[S, K, H, 128 B, D], v_codes u8 [S, K, H, D, 128 B], k_mean f32 [S, K, H, D], k_scale, v_scale f32 [S, K, H, B], all
updated. What they hold, and why: csrc/ops/quantize_cache/quantize_cache.h.

Two kernels, as a frame's means must be known before its first key can be rounded: mean_keys does BLOCK_COLUMNS
channels of a frame, quantize_cache 128 keys and values of a head. Both grids have every frame of the cache, and
programs of frames that do not change end at once: which ones do is step state. 3 S F T H D elements read and
2 S F T H D bytes written: memory-bound, and a quarter of what rounding a cache of 6 frames for each chunk would move.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .float8 import FP8_ARCHITECTURES, as_codes
from .variant import Variant

MEAN_TYPES = {"k_cache": "*bf16", "ring_write": "*i32", "ring_length": "*i32", "rebase": "*i32", "k_mean": "*fp32",
              "frames": "i32", "capacity": "i32", "frame_tokens": "i32", "columns": "i32"}  # fmt: skip
TYPES = {"k_cache": "*bf16", "v_cache": "*bf16", "ring_write": "*i32", "ring_length": "*i32", "rebase": "*i32",
         "k_codes": "*fp8e4nv", "v_codes": "*fp8e4nv", "k_mean": "*fp32", "k_scale": "*fp32", "v_scale": "*fp32",
         "frames": "i32", "capacity": "i32", "frame_tokens": "i32", "heads": "i32"}  # fmt: skip
QUANTIZED_BLOCK = 128  # keys with one scale
BLOCK_ROWS = 128
BLOCK_COLUMNS = 32


@triton.jit
def has_changed(ring_write, ring_length, rebase, slot, frame, frames, capacity):
    # A place that the cache does not have becomes the nearest one that it has.
    write = tl.minimum(tl.maximum(tl.load(ring_write + slot), 0), capacity - frames)
    is_new = (frame >= write) & (frame < write + frames)
    has_moved = (tl.load(rebase + slot) != 0) & (frame < tl.load(ring_length + slot))
    return is_new | has_moved


@triton.jit
def mean_keys_kernel(k_cache, ring_write, ring_length, rebase, k_mean, frames, capacity, frame_tokens, columns,
                     BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr):  # fmt: skip
    """Grid (ceil(H D / BLOCK_COLUMNS), K, S). columns H D."""
    frame, slot = tl.program_id(1), tl.program_id(2)
    if has_changed(ring_write, ring_length, rebase, slot, frame, frames, capacity):
        row, column = tl.arange(0, BLOCK_ROWS), tl.program_id(0) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
        place = (slot * capacity + frame).to(tl.int64)
        tile = k_cache + place * frame_tokens * columns + row[:, None] * columns + column[None, :]
        total = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], tl.float32)
        for start in range(0, frame_tokens, BLOCK_ROWS):
            inside = (row[:, None] < frame_tokens - start) & (column[None, :] < columns)
            total += tl.load(tile + start * columns, mask=inside, other=0.0).to(tl.float32)
        tl.store(k_mean + place * columns + column, tl.sum(total, 0) / frame_tokens, mask=column < columns)


@triton.jit
def e4m3_scale(largest):
    """The smallest power of two, from 2^-60 on, with which ``largest`` is at most 448 = 1.75 2^8 times as large.

    So the product of two is not 0, and 0 times the score of a key that is not there, -inf, would be NaN.
    """
    bits = largest.to(tl.int32, bitcast=True)
    exponent = (bits >> 23) - 8 + ((bits & 0x7FFFFF) > 0x600000).to(tl.int32)
    return (tl.maximum(exponent, 67) << 23).to(tl.float32, bitcast=True)


@triton.jit
def quantize_cache_kernel(k_cache, v_cache, ring_write, ring_length, rebase, k_codes, v_codes, k_mean, k_scale,
                          v_scale, frames, capacity, frame_tokens, heads, HEAD_DIM: tl.constexpr,
                          BLOCK: tl.constexpr):  # fmt: skip
    """Grid (B H, K, S), the block fastest."""
    frame, slot = tl.program_id(1), tl.program_id(2)
    if has_changed(ring_write, ring_length, rebase, slot, frame, frames, capacity):
        blocks = tl.cdiv(frame_tokens, BLOCK)
        block, head = tl.program_id(0) % blocks, tl.program_id(0) // blocks
        row, column = tl.arange(0, BLOCK), tl.arange(0, HEAD_DIM)
        stride = heads * HEAD_DIM
        in_cache = (slot * capacity + frame).to(tl.int64)
        tile = (in_cache * frame_tokens + block * BLOCK) * stride + head * HEAD_DIM
        tile += row[:, None] * stride + column[None, :]
        inside = row[:, None] < frame_tokens - block * BLOCK
        in_head = in_cache * heads + head

        mean = tl.load(k_mean + in_head * HEAD_DIM + column)
        keys = tl.load(k_cache + tile, mask=inside, other=0.0).to(tl.float32)
        keys = tl.where(inside, keys - mean[None, :], 0.0)
        scale = e4m3_scale(tl.max(tl.max(tl.abs(keys), 1), 0))
        tl.store(k_scale + in_head * blocks + block, scale)
        codes = (keys / scale).to(tl.float8e4nv)
        place = (in_head * blocks + block) * BLOCK * HEAD_DIM
        tl.store(k_codes + place + row[:, None] * HEAD_DIM + column[None, :], codes)

        values = tl.load(v_cache + tile, mask=inside, other=0.0).to(tl.float32)
        scale = e4m3_scale(tl.max(tl.max(tl.abs(values), 1), 0))
        tl.store(v_scale + in_head * blocks + block, scale)
        codes = tl.trans((values / scale).to(tl.float8e4nv))
        place = in_head * HEAD_DIM * blocks * BLOCK + block * BLOCK
        tl.store(v_codes + place + column[:, None] * blocks * BLOCK + row[None, :], codes)


def quantize_cache(k_cache, v_cache, ring_write, ring_length, rebase, k_codes, v_codes, k_mean, k_scale, v_scale,
                   frames, frame_tokens):  # fmt: skip
    """Updates the codes, means and scales; tensors of torch in the shapes above."""
    slots, capacity, heads, head_dim = k_mean.shape
    columns = heads * head_dim
    mean_keys_kernel[(triton.cdiv(columns, BLOCK_COLUMNS), capacity, slots)](
        k_cache, ring_write, ring_length, rebase, k_mean, frames, capacity, frame_tokens, columns,
        BLOCK_ROWS=BLOCK_ROWS, BLOCK_COLUMNS=BLOCK_COLUMNS,
    )  # fmt: skip
    quantize_cache_kernel[(k_scale.shape[3] * heads, capacity, slots)](
        k_cache, v_cache, ring_write, ring_length, rebase, as_codes(k_codes), as_codes(v_codes), k_mean,
        k_scale, v_scale, frames, capacity, frame_tokens, heads,
        HEAD_DIM=head_dim, BLOCK=QUANTIZED_BLOCK, num_warps=8,
    )  # fmt: skip


VARIANTS = (
    Variant(
        mean_keys_kernel,
        MEAN_TYPES,
        {"BLOCK_ROWS": BLOCK_ROWS, "BLOCK_COLUMNS": BLOCK_COLUMNS},
        ("k_cache", "k_mean", "columns"),
        architectures=FP8_ARCHITECTURES,
    ),
    Variant(
        quantize_cache_kernel,
        TYPES,
        {"HEAD_DIM": 128, "BLOCK": QUANTIZED_BLOCK},
        ("k_cache", "v_cache", "k_codes", "v_codes", "k_mean"),
        warps=8,
        architectures=FP8_ARCHITECTURES,
    ),
)
