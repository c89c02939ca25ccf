"""The normal numbers of csrc/engine/philox.h inside kernels: the same random words bit for bit, f32 Box-Muller."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def uniform(word):
    """In (0, 1]. Both products are by powers of two, so that fused multiply-add changes nothing."""
    return word.to(tl.float32) * 2.3283064365386963e-10 + 1.1641532182693481e-10


@triton.jit
def cos_sin_of_turns(turns):
    """cos and sin of 2 pi turns, turns in [0, 1]: polynomials on an eighth of a turn to either side of a quarter.

    tl.cos and tl.sin reduce any angle there may be, for which they need memory on the stack.
    """
    quarter = tl.floor(4.0 * turns + 0.5)
    angle = 6.283185307179586 * (turns - 0.25 * quarter)  # the difference is exact
    square = angle * angle
    sine = ((-1.9515295891e-4 * square + 8.3321608736e-3) * square - 1.6666654611e-1) * square * angle + angle
    cosine = ((2.443315711809948e-5 * square - 1.388731625493765e-3) * square + 4.166664568298827e-2) * square * square
    cosine += 1.0 - 0.5 * square
    quadrant = quarter.to(tl.int32) & 3
    odd = (quadrant & 1) != 0
    turned_cosine, turned_sine = tl.where(odd, sine, cosine), tl.where(odd, cosine, sine)
    turned_cosine = tl.where((quadrant == 1) | (quadrant == 2), -turned_cosine, turned_cosine)
    return turned_cosine, tl.where(quadrant >= 2, -turned_sine, turned_sine)


@triton.jit
def box_muller(word0, word1):
    radius = tl.sqrt(-2.0 * tl.log(uniform(word0)))
    cosine, sine = cos_sin_of_turns(uniform(word1))
    return radius * cosine, radius * sine


@triton.jit
def philox_normals(seed, chunk, slot, purpose, quad):
    """[4 Q] elements 4 q to 4 q + 3 of a row of noise, for quads [Q]; seed u64, chunk i64, slot and purpose i32."""
    zero = quad * 0
    chunk_low, chunk_high = (chunk & 0xFFFFFFFF).to(tl.uint32), (chunk >> 32).to(tl.uint32)
    word0, word1, word2, word3 = tl.philox(
        seed, quad, zero + chunk_low.to(tl.int32, bitcast=True), zero + chunk_high.to(tl.int32, bitcast=True),
        (zero + slot) | (purpose << 16),
    )  # fmt: skip
    normal0, normal1 = box_muller(word0, word1)
    normal2, normal3 = box_muller(word2, word3)
    return tl.join(tl.join(normal0, normal2), tl.join(normal1, normal3)).reshape(4 * quad.shape[0])
