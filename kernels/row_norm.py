"""Parts of the kernels that normalise rows: one program holds one row, of width d, in BLOCK lanes.

d is a run-time parameter, so that one form serves every width up to BLOCK; the lanes past d cost no memory traffic,
only idle lanes (a quarter of them at d = 1536, three eighths at 5120), where the bound is memory.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Warps by BLOCK, for the widths 256 (tiny), 1536 (1.3B) and 5120 (14B): 8 to 32 elements in a thread.
ROW_WARPS = {256: 1, 2048: 4, 8192: 8}


def row_options(d: int) -> dict[str, int]:
    """BLOCK and num_warps for rows of width d."""
    block = triton.next_power_of_2(d)
    return {"BLOCK": block, "num_warps": next((warps for size, warps in ROW_WARPS.items() if block <= size), 16)}


@triton.jit
def load_row(row, column, inside):
    return tl.load(row + column, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def layernorm(x, inside, d, eps):
    """x less its mean over its standard deviation; the variance is the mean of squared differences, not of squares."""
    centred = tl.where(inside, x - tl.sum(x, 0) / d, 0.0)
    return centred * tl.rsqrt(tl.sum(centred * centred, 0) / d + eps)
