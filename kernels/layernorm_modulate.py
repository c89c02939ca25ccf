"""layernorm_modulate: y = LN(x) (1 + scale[s]) + shift[s].

x, y [M, d]; shift, scale [S, d], row m belonging to slot m / (M / S). One program is one row: norm and modulation in
one pass over it. 9 M d FLOPs, 2 M d + 2 S d elements: memory-bound.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .row_norm import ROW_WARPS, layernorm, load_row, row_options
from .variant import Variant

TYPES = {"x": "*bf16", "shift": "*bf16", "scale": "*bf16", "y": "*bf16", "slot_rows": "i32", "d": "i32", "eps": "fp32"}


@triton.jit
def layernorm_modulate_kernel(x, shift, scale, y, slot_rows, d, eps, BLOCK: tl.constexpr):
    """Grid (M). slot_rows M / S."""
    row = tl.program_id(0)
    first = row.to(tl.int64) * d
    slot = row // slot_rows * d
    column = tl.arange(0, BLOCK)
    inside = column < d
    normed = layernorm(load_row(x + first, column, inside), inside, d, eps)
    factor = 1.0 + load_row(scale + slot, column, inside)
    tl.store(y + first + column, normed * factor + load_row(shift + slot, column, inside), mask=inside)


def layernorm_modulate(x, shift, scale, y, eps):
    """Writes ``y``; tensors of torch in the shapes above."""
    rows, d = x.shape
    layernorm_modulate_kernel[(rows,)](x, shift, scale, y, rows // len(shift), d, eps, **row_options(d))


VARIANTS = tuple(
    Variant(layernorm_modulate_kernel, TYPES, {"BLOCK": block}, ("x", "shift", "scale", "y", "d"), warps)
    for block, warps in ROW_WARPS.items()
)
