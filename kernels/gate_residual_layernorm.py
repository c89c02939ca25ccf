"""gate_residual_layernorm: x += gate[s] update, and y = LN(x) (1 + scale) + shift or, affine, LN(x) scale + shift.

x (updated), update, y [M, d]; gate [S, d], row m belonging to row m / (M / S); scale, shift [R, d], likewise. One
program is one row. The residual addition, its gate, the norm and its modulation or weights are one pass: x and
update are read once, x and y written once, where separate kernels would move twice as much. The norm is of the sum
before it is rounded to be stored. 11 M d FLOPs, 4 M d + S d + 2 R d elements: memory-bound.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .row_norm import ROW_WARPS, layernorm, load_row, row_options
from .variant import Variant

TYPES = {"x": "*bf16", "update": "*bf16", "gate": "*bf16", "scale": "*bf16", "shift": "*bf16", "y": "*bf16",
         "gate_rows": "i32", "norm_rows": "i32", "d": "i32", "eps": "fp32"}  # fmt: skip


@triton.jit
def gate_residual_layernorm_kernel(x, update, gate, scale, shift, y, gate_rows, norm_rows, d, eps,
                                   HAS_GATE: tl.constexpr, AFFINE: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Grid (M). gate_rows M / S, norm_rows M / R. Without HAS_GATE the pointer gate is not used."""
    row = tl.program_id(0)
    first = row.to(tl.int64) * d
    column = tl.arange(0, BLOCK)
    inside = column < d
    added = load_row(update + first, column, inside)
    if HAS_GATE:
        added *= load_row(gate + row // gate_rows * d, column, inside)
    residual = load_row(x + first, column, inside) + added
    tl.store(x + first + column, residual, mask=inside)
    norm_row = row // norm_rows * d
    factor = load_row(scale + norm_row, column, inside)
    if not AFFINE:
        factor += 1.0
    normed = layernorm(residual, inside, d, eps) * factor + load_row(shift + norm_row, column, inside)
    tl.store(y + first + column, normed, mask=inside)


def gate_residual_layernorm(x, update, scale, shift, y, eps, norm, gate=None):
    """Updates ``x`` and writes ``y``; tensors of torch in the shapes above."""
    rows, d = x.shape
    gate_residual_layernorm_kernel[(rows,)](
        x, update, update if gate is None else gate, scale, shift, y, rows // len(update if gate is None else gate),
        rows // len(scale), d, eps, HAS_GATE=gate is not None, AFFINE=norm == "affine", **row_options(d),
    )  # fmt: skip


VARIANTS = tuple(
    Variant(
        gate_residual_layernorm_kernel,
        TYPES,
        {"HAS_GATE": has_gate, "AFFINE": affine, "BLOCK": block},
        ("x", "update", "gate", "scale", "shift", "y", "d"),
        warps,
    )
    for block, warps in ROW_WARPS.items()
    for has_gate in (False, True)
    for affine in (False, True)
)
