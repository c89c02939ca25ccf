"""rms_norm: y = x / sqrt(mean(x^2) + eps) * weight, over the full width.

x, y [M, d]; weight [d]. One program is one row, read once. 4 M d FLOPs, 2 M d + d elements: memory-bound.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .row_norm import ROW_WARPS, load_row, row_options
from .variant import Variant

TYPES = {"x": "*bf16", "weight": "*bf16", "y": "*bf16", "d": "i32", "eps": "fp32"}


@triton.jit
def rms_norm_kernel(x, weight, y, d, eps, BLOCK: tl.constexpr):
    """Grid (M)."""
    first = tl.program_id(0).to(tl.int64) * d
    column = tl.arange(0, BLOCK)
    inside = column < d
    values = load_row(x + first, column, inside)
    factor = load_row(weight, column, inside)
    normed = values * tl.rsqrt(tl.sum(values * values, 0) / d + eps) * factor
    tl.store(y + first + column, normed, mask=inside)


def rms_norm(x, weight, y, eps):
    """Writes ``y``; tensors of torch in the shapes above."""
    rows, d = x.shape
    rms_norm_kernel[(rows,)](x, weight, y, d, eps, **row_options(d))


VARIANTS = tuple(
    Variant(rms_norm_kernel, TYPES, {"BLOCK": block}, ("x", "weight", "y", "d"), warps)
    for block, warps in ROW_WARPS.items()
)
