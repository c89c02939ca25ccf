"""time_embed: the timestep of every slot, embedded and added to the modulation tables of all blocks and of the head.

    hidden = silu(fc1(sinusoid(t)));  e = fc2(hidden);  head_modulation[i, s] = head_table[i] + e[s]
    block_modulation[b, i, s] = block_tables[b, i] + proj(silu(e[s]))[i]

timestep f32 [S]; fc1 [d, Q], fc2 [d, d], proj [6 d, d], with biases; block_tables [B, 6, d], head_table [2, d];
block_modulation [B, 6, S, d], head_modulation [2, S, d]. Three kernels, one for each layer, as a layer needs all of the
one before; the two vectors between them are f32 [S, d]. What follows a layer is done where its result is.

The layers are matrix-vector products: every weight is read once for up to BLOCK_S slots. Q d + 7 d^2 + 6 B d + 6 B S d
elements, 2 S (Q d + 7 d^2) FLOPs: memory-bound. A program does BLOCK_N rows of weights; partial sums stay in the
threads until the end, so that the loop only loads, multiplies and adds.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant


@triton.jit
def time_embed_hidden_kernel(timestep, weight, bias, hidden, slots, d, HALF: tl.constexpr, BLOCK_S: tl.constexpr,
                             BLOCK_N: tl.constexpr):  # fmt: skip
    """hidden = silu(fc1(sinusoid(timestep))). Grid (ceil(d / BLOCK_N), ceil(S / BLOCK_S)). HALF Q / 2.

    A timestep of 1000 is 159 turns of the first frequency: angles are f64 until whole quarter turns are taken off.
    """
    slot = tl.program_id(1) * BLOCK_S + tl.arange(0, BLOCK_S)
    unit = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    wave = tl.arange(0, HALF)
    frequency = tl.exp2(wave.to(tl.float64) * (-13.287712379549449 / HALF))  # 10000^(-j / HALF)
    time = tl.load(timestep + slot, mask=slot < slots, other=0.0).to(tl.float64)
    cosine, sine = cosine_and_sine(time[:, None] * frequency[None, :])
    place = weight + unit[:, None] * 2 * HALF + wave[None, :]
    inside = unit[:, None] < d
    products = cosine[:, None, :] * tl.load(place, mask=inside, other=0.0).to(tl.float32)[None, :, :]
    products += sine[:, None, :] * tl.load(place + HALF, mask=inside, other=0.0).to(tl.float32)[None, :, :]
    result = tl.sum(products, 2) + tl.load(bias + unit, mask=unit < d, other=0.0).to(tl.float32)[None, :]
    both = (slot[:, None] < slots) & (unit[None, :] < d)
    tl.store(hidden + slot[:, None] * d + unit[None, :], silu(result), mask=both)


@triton.jit
def time_embed_head_kernel(hidden, weight, bias, head_table, activated, head_modulation, slots, d,
                           BLOCK_S: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):  # fmt: skip
    """e = fc2(hidden), activated = silu(e) and head_modulation. Grid (ceil(d / BLOCK_N), ceil(S / BLOCK_S))."""
    slot = tl.program_id(1) * BLOCK_S + tl.arange(0, BLOCK_S)
    unit = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    e = linear(hidden, weight, bias, slot, unit, slots, d, d, BLOCK_S, BLOCK_N, BLOCK_K)
    place = slot[:, None] * d + unit[None, :]
    inside = (slot[:, None] < slots) & (unit[None, :] < d)
    tl.store(activated + place, silu(e), mask=inside)
    for part in tl.static_range(2):
        table = tl.load(head_table + part * d + unit, mask=unit < d, other=0.0).to(tl.float32)
        tl.store(head_modulation + part * slots * d + place, table[None, :] + e, mask=inside)


@triton.jit
def time_embed_blocks_kernel(activated, weight, bias, block_tables, block_modulation, slots, d, blocks,
                             BLOCK_S: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
                             BLOCK_B: tl.constexpr):  # fmt: skip
    """block_modulation = block_tables + proj(activated). Grid (ceil(6 d / BLOCK_N), ceil(S / BLOCK_S)). blocks B."""
    slot = tl.program_id(1) * BLOCK_S + tl.arange(0, BLOCK_S)
    unit = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    projected = linear(activated, weight, bias, slot, unit, slots, d, 6 * d, BLOCK_S, BLOCK_N, BLOCK_K)
    place = (unit[None, :] // d * slots + slot[:, None]) * d + unit[None, :] % d
    inside = (slot[:, None] < slots) & (unit[None, :] < 6 * d)
    for start in range(0, blocks, BLOCK_B):
        block = start + tl.arange(0, BLOCK_B)
        valid = (block[:, None] < blocks) & (unit[None, :] < 6 * d)
        table = tl.load(block_tables + block[:, None] * 6 * d + unit[None, :], mask=valid, other=0.0).to(tl.float32)
        target = block_modulation + block[:, None, None] * 6 * slots * d + place[None, :, :]
        mask = inside[None, :, :] & (block[:, None, None] < blocks)
        tl.store(target, table[:, None, :] + projected[None, :, :], mask=mask)


@triton.jit
def linear(x, weight, bias, slot, unit, slots, depth, units, BLOCK_S: tl.constexpr, BLOCK_N: tl.constexpr,
           BLOCK_K: tl.constexpr):  # fmt: skip
    """x W^T + bias for the slots and units of a program: x f32 [slots, depth], W [units, depth]."""
    partial = tl.zeros([BLOCK_S, BLOCK_N, BLOCK_K], tl.float32)
    for start in range(0, depth, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        rows = tl.load(x + slot[:, None] * depth + k[None, :],
                       mask=(slot[:, None] < slots) & (k[None, :] < depth), other=0.0)  # fmt: skip
        tile = tl.load(weight + unit[:, None] * depth + k[None, :],
                       mask=(unit[:, None] < units) & (k[None, :] < depth), other=0.0)  # fmt: skip
        partial += rows[:, None, :] * tile.to(tl.float32)[None, :, :]
    return tl.sum(partial, 2) + tl.load(bias + unit, mask=unit < units, other=0.0).to(tl.float32)[None, :]


@triton.jit
def cosine_and_sine(angle):
    """f32 cosine and sine of f64 angles: their series on an eighth of a turn to either side, which end beyond f32.

    tl.cos would bring a branch for large angles that needs local memory.
    """
    quarters = tl.floor(angle * 0.6366197723675814 + 0.5)
    x = (angle - quarters * 1.5707963267948966).to(tl.float32)
    y = x * x
    c = 1 - y / 2 * (1 - y / 12 * (1 - y / 30 * (1 - y / 56 * (1 - y / 90))))
    s = x * (1 - y / 6 * (1 - y / 20 * (1 - y / 42 * (1 - y / 72))))
    quadrant = quarters.to(tl.int32) & 3
    swapped, negative = quadrant % 2 == 1, quadrant >= 2
    cosine, sine = tl.where(swapped, -s, c), tl.where(swapped, c, s)
    return tl.where(negative, -cosine, cosine), tl.where(negative, -sine, sine)


@triton.jit
def silu(x):
    return x / (1.0 + tl.exp(-x))


BLOCK_N, BLOCK_B = 8, 16
SLOT_BLOCKS = (1, 2, 4, 8)
FREQUENCIES = 256


def tile(slots: int) -> dict[str, int]:
    """The constants for so many slots: as many partial sums for a thread with 8 slots as with 4."""
    block_s = min(triton.next_power_of_2(slots), SLOT_BLOCKS[-1])
    return {"BLOCK_S": block_s, "BLOCK_N": BLOCK_N, "BLOCK_K": 256 if block_s < 8 else 128}


def time_embed(timestep, fc1_weight, fc1_bias, fc2_weight, fc2_bias, proj_weight, proj_bias, block_tables, head_table,
               block_modulation, head_modulation):  # fmt: skip
    """Writes the two modulations; tensors of torch in the shapes above."""
    slots, (d, frequencies) = len(timestep), fc1_weight.shape
    hidden, activated = timestep.new_empty(2, slots, d)
    constants = tile(slots)
    by_slots = triton.cdiv(slots, constants["BLOCK_S"])
    time_embed_hidden_kernel[(triton.cdiv(d, BLOCK_N), by_slots)](
        timestep, fc1_weight, fc1_bias, hidden, slots, d, HALF=frequencies // 2, BLOCK_S=constants["BLOCK_S"],
        BLOCK_N=BLOCK_N,
    )  # fmt: skip
    time_embed_head_kernel[(triton.cdiv(d, BLOCK_N), by_slots)](
        hidden, fc2_weight, fc2_bias, head_table, activated, head_modulation, slots, d, **constants
    )
    time_embed_blocks_kernel[(triton.cdiv(6 * d, BLOCK_N), by_slots)](
        activated, proj_weight, proj_bias, block_tables, block_modulation, slots, d, len(block_tables), **constants,
        BLOCK_B=BLOCK_B,
    )  # fmt: skip


LAYER = {"weight": "*bf16", "bias": "*bf16"}
SIZES = {"slots": "i32", "d": "i32"}
HIDDEN_TYPES = {"timestep": "*fp32", **LAYER, "hidden": "*fp32", **SIZES}
HEAD_TYPES = {"hidden": "*fp32", **LAYER, "head_table": "*bf16", "activated": "*fp32", "head_modulation": "*bf16"}
BLOCKS_TYPES = {"activated": "*fp32", **LAYER, "block_tables": "*bf16", "block_modulation": "*bf16"}


def _variants(block_s: int) -> tuple[Variant, ...]:
    """The three kernels; of their pointers only the timesteps, a part of the step state, may lie anywhere."""
    constants = tile(block_s)
    hidden = {"HALF": FREQUENCIES // 2, "BLOCK_S": block_s, "BLOCK_N": BLOCK_N}
    blocks = constants | {"BLOCK_B": BLOCK_B}
    return (
        Variant(time_embed_hidden_kernel, HIDDEN_TYPES, hidden, ("weight", "bias", "hidden", "d")),
        Variant(time_embed_head_kernel, HEAD_TYPES | SIZES, constants, (*HEAD_TYPES, "d")),
        Variant(time_embed_blocks_kernel, BLOCKS_TYPES | SIZES | {"blocks": "i32"}, blocks, (*BLOCKS_TYPES, "d")),
    )


VARIANTS = tuple(variant for block_s in SLOT_BLOCKS for variant in _variants(block_s))
