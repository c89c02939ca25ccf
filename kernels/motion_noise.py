"""motion_noise: the noise level of a chunk from how much its frames move, the contract of
csrc/ops/motion_noise/motion_noise.h, where the rule and its precision stand.

Two kernels. The first adds up the squared differences of consecutive frames: all of them are multiples of 2^-20, so
the sums are exact as integers, in any order; in its course it puts the chunk's last frame where ``previous`` was. The
second is one program and decides, in double precision and without fused multiply-add, because it takes the floor of a
decimal. bf16 is made with integer operations, to nearest even.

Workspace: ``sums`` i64 [T, frame elements / BLOCK rounded up]; none in phase first. Values that a host has set out of
range are brought back into it. Bytes: 3 (T + 2) Y X. FLOPs: 12 T Y X.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

BLOCK = 4096
BLOCK_P = 1024  # of a table that is searched, and of the sums that are added, at a time


@triton.jit
def round_to_bf16(value):
    bits = value.to(tl.uint32, bitcast=True)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def pixel(value):
    return round_to_bf16(tl.div_rn(value.to(tl.float32), 127.5) - 1.0)


@triton.jit
def frame_motion_kernel(frames, previous, sums, elements, count, FIRST: tl.constexpr, BLOCK: tl.constexpr):
    """sums[t, block] = 2^20 times the squared differences of frames t and t - 1, and previous = the last frame.

    elements: of a frame; count: T. FIRST: no sums, only the copy. Grid: blocks of elements; a program goes through all
    frames, so that it may overwrite its part of ``previous``.
    """
    offset = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offset < elements
    if FIRST:
        now = tl.load(frames + tl.cast(count - 1, tl.int64) * elements + offset, mask=inside, other=0)
    else:
        now = tl.load(previous + offset, mask=inside, other=0)
        for frame in range(count):
            before = now
            now = tl.load(frames + tl.cast(frame, tl.int64) * elements + offset, mask=inside, other=0)
            difference = round_to_bf16(pixel(now) - pixel(before))
            square = round_to_bf16(difference * difference) * 1048576.0
            total = tl.sum(square.to(tl.int64), axis=0)
            tl.store(sums + frame * tl.num_programs(0) + tl.program_id(0), total)
    tl.debug_barrier()
    tl.store(previous + offset, now, mask=inside)


@triton.jit
def largest_motion(sums, count, blocks, elements, BLOCK_P: tl.constexpr):
    """dhat: the largest motion between consecutive frames, from 0 to 1."""
    largest = tl.full((), 0.0, tl.float32)
    for frame in range(count):
        total = tl.full((), 0, tl.int64)
        for first in range(0, blocks, BLOCK_P):
            block = first + tl.arange(0, BLOCK_P)
            total += tl.sum(tl.load(sums + frame * blocks + block, mask=block < blocks, other=0), axis=0)
        mean = (total.to(tl.float64) / 1048576.0 / elements).to(tl.float32)
        largest = tl.maximum(largest, round_to_bf16(tl.sqrt_rn(round_to_bf16(mean))))
    return tl.minimum(round_to_bf16(tl.div_rn(largest, 0.2)), 1.0)


@triton.jit
def sigma_of(timestep, table_timesteps, table_sigmas, entries, BLOCK_P: tl.constexpr):
    """Of the table's timestep nearest to it, the first one at a tie."""
    nearest, distance = 0, tl.full((), float("inf"), tl.float32)
    for first in range(0, entries, BLOCK_P):
        entry = first + tl.arange(0, BLOCK_P)
        away = tl.abs(tl.load(table_timesteps + entry, mask=entry < entries, other=float("inf")) - timestep)
        least = tl.min(away, axis=0)
        nearest = tl.where(least < distance, first + tl.argmin(away, axis=0, tie_break_left=True), nearest)
        distance = tl.minimum(least, distance)
    return tl.load(table_sigmas + nearest)


@triton.jit
def noise_level_kernel(
    sums, level_bits, initial_scale, first_timestep, table_timesteps, table_sigmas, noise_scale, timestep, sigma,
    elements, count, blocks, entries, FIRST: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """blocks: of the sums of a frame; entries: of the table. Grid: 1."""
    tenth, one = tl.full((), 0.1, tl.float64), tl.full((), 1.0, tl.float64)
    million = tl.full((), 1e6, tl.float64)
    given = tl.load(initial_scale).to(tl.float64)
    initial = tl.minimum(tl.maximum(tl.floor(given * million + 0.5) / million, tenth), one)
    if FIRST:
        level, step = initial, tl.load(first_timestep)
    else:
        bits = tl.load(level_bits)
        level = tl.where(bits == 0, initial, bits.to(tl.float64, bitcast=True))
        level = tl.minimum(tl.maximum(level, 0.0), one)
        motion = largest_motion(sums, count, blocks, elements, BLOCK_P).to(tl.float64)
        level = tl.full((), 0.9, tl.float64) * (initial - tenth * motion) + tenth * level
        step = tl.maximum(tl.floor(level * 1000.0) - 100.0, 0.0).to(tl.float32)
    tl.store(level_bits, level.to(tl.int64, bitcast=True))
    tl.store(noise_scale, level.to(tl.float32))
    tl.store(timestep, step)
    tl.store(sigma, sigma_of(step, table_timesteps, table_sigmas, entries, BLOCK_P))


def motion_noise(
    frames, previous, level_bits, initial_scale, table_timesteps, table_sigmas, noise_scale, timestep, sigma,
    phase: str, first_timestep=None,
) -> None:  # fmt: skip
    """Updates previous and level_bits, writes the rest: torch tensors in the contract's roles."""
    import torch

    first, elements, count = phase == "first", previous.numel(), len(frames)
    blocks = triton.cdiv(elements, BLOCK)
    sums = torch.full((count, blocks), -1, dtype=torch.int64, device=frames.device)
    frame_motion_kernel[(blocks,)](frames, previous, sums, elements, count, FIRST=first, BLOCK=BLOCK)
    noise_level_kernel[(1,)](
        sums, level_bits, initial_scale, initial_scale if first_timestep is None else first_timestep, table_timesteps,
        table_sigmas, noise_scale, timestep, sigma, elements, count, blocks, len(table_sigmas), FIRST=first,
        BLOCK_P=BLOCK_P, num_warps=1, enable_fp_fusion=False,
    )  # fmt: skip


_MOTION_TYPES = {"frames": "*u8", "previous": "*u8", "sums": "*i64", "elements": "i32", "count": "i32"}
_LEVEL_TYPES = {
    "sums": "*i64", "level_bits": "*i64",
    **dict.fromkeys(("initial_scale", "first_timestep", "table_timesteps", "table_sigmas", "noise_scale", "timestep",
                     "sigma"), "*fp32"),
    **dict.fromkeys(("elements", "count", "blocks", "entries"), "i32"),
}  # fmt: skip
VARIANTS = [
    variant
    for first in (True, False)
    for variant in (
        Variant(frame_motion_kernel, _MOTION_TYPES, {"FIRST": first, "BLOCK": BLOCK},
                divisible=("frames", "previous", "elements")),
        Variant(noise_level_kernel, _LEVEL_TYPES, {"FIRST": first, "BLOCK_P": BLOCK_P}, warps=1,
                fused_multiply_add=False),
    )
]  # fmt: skip
