"""The step of the attention kernels: an online softmax over one tile of keys.

A program holds BLOCK_M queries of one head. Each tile of BLOCK_N keys updates, per query, the running maximum of the
scores, the total of the weights and the weighted sum of the values. Scores are in units of log2(e), which is folded
into the scale, so that a weight is one exp2.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def attend(q, keys, values, stride, rows, last_bias, maximum, total, weighted,
           HEAD_DIM: tl.constexpr, BLOCK_N: tl.constexpr):  # fmt: skip
    """keys, values: this tile's first row, rows being ``stride`` apart; rows: how many there are from it on, >= 1.

    last_bias, in units of log2, goes on the score of the last of them. What lies beyond them is not read: it may be
    NaN, and 0 * NaN is NaN. The last row is read in its place, which takes fewer registers than masks. There is one
    loop for whole tiles and the last: a copy of the step behind the loop makes ptxas wait for every single HGMMA on
    sm_90a (seen with Triton 3.6), a branch around the masking does not.
    """
    row = tl.arange(0, BLOCK_N)
    tile = tl.minimum(row, rows - 1)[:, None] * stride + tl.arange(0, HEAD_DIM)[None, :]
    k = tl.load(keys + tile)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee")
    scale: tl.constexpr = 1.4426950408889634 / (HEAD_DIM**0.5)
    if rows <= BLOCK_N:
        scores += tl.where(row == rows - 1, last_bias / scale, 0.0)[None, :]
        scores = tl.where(row[None, :] < rows, scores, float("-inf"))
    # The maximum is taken before the scale, so that scaling and subtracting are one fused multiply-add.
    higher = tl.maximum(maximum, tl.max(scores, 1) * scale)
    weights = tl.exp2(scores * scale - higher[:, None])
    v = tl.load(values + tile)
    correction = tl.exp2(maximum - higher)
    total = total * correction + tl.sum(weights, 1)
    weighted = tl.dot(weights.to(v.dtype), v, weighted * correction[:, None], input_precision="ieee")
    return higher, total, weighted
