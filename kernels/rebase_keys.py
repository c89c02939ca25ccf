"""rebase_keys: where rebase[s] is not 0, turns the temporal pairs of the cached keys to other positions.

k_cache [S, K T, H, D], updated; rope f32 [P, D]; rebase i32 [S]; sink_shift i32 [S, Z], updated, or absent. Frames Z to
K - 1 are turned by the angles of rebase[s], sink j by those of -sink_shift[s, j], which becomes 0. In place, as
R(p + a) = R(a) R(p); only the temporal components, which come first in a head, are read and written.

Nearly always rebase is 0, and then each program reads that one number: the grid is small and walks over the cache in
strides. When it is not: 2 S K T H D_t elements, memory-bound. sink_shift is cleared by a second kernel, after every
program of the first one has read it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

TYPES = {"k_cache": "*bf16", "rope": "*fp32", "rebase": "*i32", "sink_shift": "*i32", "frame_rows": "i32",
         "capacity": "i32", "sinks": "i32", "positions": "i32"}  # fmt: skip
CLEAR_TYPES = {"rebase": "*i32", "sink_shift": "*i32", "sinks": "i32"}
PROGRAMS = 264  # two for each multiprocessor of an H100
BLOCK_ROWS = 32
CLEAR_BLOCK = 32


@triton.jit
def rebase_keys_kernel(k_cache, rope, rebase, sink_shift, frame_rows, capacity, sinks, positions,
                       HEAD_DIM: tl.constexpr, HAS_SINK_SHIFT: tl.constexpr, BLOCK_ROWS: tl.constexpr):  # fmt: skip
    """Grid (any number, S). frame_rows T H, capacity K, sinks Z, positions P."""
    slot = tl.program_id(1)
    move = tl.load(rebase + slot)
    if move != 0:
        frame_blocks = tl.cdiv(frame_rows, BLOCK_ROWS)
        for block in range(tl.program_id(0), capacity * frame_blocks, tl.num_programs(0)):
            frame, first_row = block // frame_blocks, block % frame_blocks * BLOCK_ROWS
            shift = tl.where(frame < sinks, 0, move)
            if HAS_SINK_SHIFT:
                shift -= tl.load(sink_shift + slot * sinks + frame, mask=frame < sinks, other=0)
            if shift != 0:
                first = ((slot * capacity + frame).to(tl.int64) * frame_rows + first_row) * HEAD_DIM
                turn(k_cache + first, rope, frame_rows - first_row, shift, positions, HEAD_DIM, BLOCK_ROWS)


@triton.jit
def turn(keys, rope, rows, shift, positions, HEAD_DIM: tl.constexpr, BLOCK_ROWS: tl.constexpr):
    """Turns the temporal pairs of ``rows`` rows of keys, at most BLOCK_ROWS, by the angles of ``shift`` positions."""
    temporal: tl.constexpr = HEAD_DIM - HEAD_DIM // 6 * 4
    row, component = tl.arange(0, BLOCK_ROWS), tl.arange(0, HEAD_DIM // 2)
    # A shift that the table does not have must not become a read beyond it. It has no negative positions, either:
    # sin(-a) = -sin(a).
    shift = tl.minimum(tl.maximum(shift, 1 - positions), positions - 1)
    angles = tl.load(rope + tl.abs(shift) * HEAD_DIM + component, mask=component < temporal, other=0.0)
    cosine, sine = tl.split(tl.reshape(angles, [1, HEAD_DIM // 4, 2]))
    sine = tl.where(shift < 0, -sine, sine)
    place = row[:, None] * HEAD_DIM + component[None, :]
    inside = (row[:, None] < rows) & (component[None, :] < temporal)
    x = tl.load(keys + place, mask=inside, other=0.0).to(tl.float32)
    real, imaginary = tl.split(tl.reshape(x, [BLOCK_ROWS, HEAD_DIM // 4, 2]))
    turned = tl.join(real * cosine - imaginary * sine, real * sine + imaginary * cosine)
    tl.store(keys + place, tl.reshape(turned, [BLOCK_ROWS, HEAD_DIM // 2]), mask=inside)


@triton.jit
def clear_sink_shift_kernel(rebase, sink_shift, sinks, BLOCK: tl.constexpr):
    """Grid (S)."""
    slot = tl.program_id(0)
    if tl.load(rebase + slot) != 0:
        for start in range(0, sinks, BLOCK):
            sink = start + tl.arange(0, BLOCK)
            tl.store(sink_shift + slot * sinks + sink, tl.zeros([BLOCK], tl.int32), mask=sink < sinks)


def rebase_keys(k_cache, rope, rebase, frame_tokens, sinks, sink_shift=None):
    """Updates ``k_cache`` and ``sink_shift``; tensors of torch in the shapes above."""
    slots, tokens, heads, head_dim = k_cache.shape
    rebase_keys_kernel[(PROGRAMS if k_cache.is_cuda else 2, slots)](
        k_cache, rope, rebase, rebase if sink_shift is None else sink_shift, frame_tokens * heads,
        tokens // frame_tokens, sinks, len(rope), HEAD_DIM=head_dim, HAS_SINK_SHIFT=sink_shift is not None,
        BLOCK_ROWS=BLOCK_ROWS,
    )  # fmt: skip
    if sink_shift is not None:
        clear_sink_shift_kernel[(slots,)](rebase, sink_shift, sinks, BLOCK=CLEAR_BLOCK, num_warps=1)


VARIANTS = (
    *(
        Variant(
            rebase_keys_kernel,
            TYPES,
            {"HEAD_DIM": 128, "HAS_SINK_SHIFT": has_sink_shift, "BLOCK_ROWS": BLOCK_ROWS},
            ("k_cache", "rope"),
        )
        for has_sink_shift in (False, True)
    ),
    Variant(clear_sink_shift_kernel, CLEAR_TYPES, {"BLOCK": CLEAR_BLOCK}, warps=1),
)
