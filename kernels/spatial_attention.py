"""spatial_attention: out[t] = softmax(q[t] k[t]^T / sqrt(C)) v[t], the contract of
csrc/ops/spatial_attention/spatial_attention.h.

qkv [T N, 3 C] -> out [T N, C]: one head as wide as the channels, attending inside every frame. A program keeps BLOCK_M
queries and goes through the frame's tokens by BLOCK_N with a running maximum and sum, so that scores are never stored.
C is BLOCK_C channels, or with HALF BLOCK_C and half as many again, which is what 384 needs: as one
block of 512 it would spill registers. Bytes (bf16): 8 T N C, and 4 N C per program from the
second-level cache. FLOPs: 4 T N^2 C.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant


@triton.jit
def load_rows(source, row, rows, stride, channel, channels):
    """[row, channel] of a matrix, zeros outside of it; row and channel broadcast to the block's shape."""
    return tl.load(source + row * stride + channel, mask=(row < rows) & (channel < channels), other=0.0)


@triton.jit
def store_rows(out, values, row, rows, channel, channels):
    mask = (row < rows) & (channel < channels)
    tl.store(out + row * channels + channel, values.to(out.dtype.element_ty), mask=mask)


@triton.jit
def spatial_attention_kernel(
    qkv, out, tokens, channels, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr, HALF: tl.constexpr
):
    """Grid: (blocks of queries, frames)."""
    LOG2_E: tl.constexpr = 1.4426950408889634
    stride = 3 * channels
    q_source = qkv + tl.program_id(1).to(tl.int64) * tokens * stride
    k_source, v_source = q_source + channels, q_source + 2 * channels
    out += tl.program_id(1).to(tl.int64) * tokens * channels
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    channel = tl.arange(0, BLOCK_C)
    q = load_rows(q_source, row, tokens, stride, channel[None, :], channels)
    sums = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    if HALF:
        half = BLOCK_C + tl.arange(0, BLOCK_C // 2)
        half_q = load_rows(q_source, row, tokens, stride, half[None, :], channels)
        half_sums = tl.zeros([BLOCK_M, BLOCK_C // 2], tl.float32)
    scale = LOG2_E * tl.rsqrt(tl.cast(channels, tl.float32))
    highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    for first in range(0, tokens, BLOCK_N):
        token = first + tl.arange(0, BLOCK_N)
        k = load_rows(k_source, token[None, :], tokens, stride, channel[:, None], channels)
        scores = tl.dot(q, k)
        if HALF:
            half_k = load_rows(k_source, token[None, :], tokens, stride, half[:, None], channels)
            scores = tl.dot(half_q, half_k, scores)
        scores = tl.where(token[None, :] < tokens, scores * scale, float("-inf"))
        new_highest = tl.maximum(highest, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new_highest[:, None])
        shrink = tl.exp2(highest - new_highest)
        total = total * shrink + tl.sum(weights, axis=1)
        weights = weights.to(q.dtype)
        v = load_rows(v_source, token[:, None], tokens, stride, channel[None, :], channels)
        sums = tl.dot(weights, v, sums * shrink[:, None])
        if HALF:
            half_v = load_rows(v_source, token[:, None], tokens, stride, half[None, :], channels)
            half_sums = tl.dot(weights, half_v, half_sums * shrink[:, None])
        highest = new_highest
    store_rows(out, sums / total[:, None], row, tokens, channel[None, :], channels)
    if HALF:
        store_rows(out, half_sums / total[:, None], row, tokens, half[None, :], channels)


def tile(channels: int) -> tuple[dict[str, int], int, int]:
    """(constants, warps, stages) for a number of channels; the launcher's rule."""
    power = max(triton.next_power_of_2(channels), 16)
    half = power >= 64 and channels <= power // 4 * 3
    block = power // 2 if half else power
    if power <= 128:
        return {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_C": block, "HALF": half}, 4, 3
    tokens = 64 if channels <= 256 else 32  # what shared memory holds twice
    return {"BLOCK_M": 64, "BLOCK_N": tokens, "BLOCK_C": block, "HALF": half}, 8, 2


def spatial_attention(qkv, out, frames: int) -> None:
    """Writes out: torch tensors in the contract's roles and layouts, and its attribute."""
    tokens, channels = out.shape[0] // frames, out.shape[1]
    constants, warps, stages = tile(channels)
    spatial_attention_kernel[(triton.cdiv(tokens, constants["BLOCK_M"]), frames)](
        qkv, out, tokens, channels, **constants, num_warps=warps, num_stages=stages
    )


_TYPES = {"qkv": "*bf16", "out": "*bf16", "tokens": "i32", "channels": "i32"}
VARIANTS = [
    Variant(spatial_attention_kernel, _TYPES, constants, ("qkv", "out", "channels"), warps, stages, needs=("HGMMA",))
    for constants, warps, stages in map(tile, (16, 32, 64, 96, 128, 192, 256, 384))
]
