"""renoise: x0 = x - sigma flow, and x = (1 - next_sigma) x0 + next_sigma eps of the next slot or of the same, the
contract of csrc/ops/renoise/renoise.h.

All f32, S rows of F C y x elements. A program takes its elements through all slots, so that one launch does all of it:
from the last slot to the first, since with a shift row i + 1 is overwritten with what row i gives. Bytes:
(12 S + 4 to 8 R) F C y x. FLOPs: (2 S + 3 R) F C y x, and about 50 per drawn number.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .philox_noise import philox_normals
from .variant import Variant

QUADS = 128
RENOISE = tl.constexpr(1)  # purpose of the draws


@triton.jit
def renoise_kernel(
    x, flow, sigma, next_sigma, noise, noise_given, seed, row_chunk, x0, elements, slots, renoised, shift, first_step,
    HAS_NOISE: tl.constexpr, HAS_NOISE_GIVEN: tl.constexpr, QUADS: tl.constexpr,
):  # fmt: skip
    """elements: of a row; shift: 1 or 0 rows; renoised: rows with a next step. Grid: blocks of 4 * QUADS elements."""
    quad = tl.program_id(0) * QUADS + tl.arange(0, QUADS)
    offset = tl.program_id(0) * 4 * QUADS + tl.arange(0, 4 * QUADS)
    inside = offset < elements
    given = HAS_NOISE
    if HAS_NOISE and HAS_NOISE_GIVEN:
        given = tl.load(noise_given) != 0
    for turn in range(slots):
        slot = slots - 1 - turn
        place = tl.cast(slot, tl.int64) * elements + offset
        noisy, velocity = tl.load(x + place, mask=inside, other=0.0), tl.load(flow + place, mask=inside, other=0.0)
        clean = noisy - tl.load(sigma + slot) * velocity
        tl.store(x0 + place, clean, mask=inside)
        tl.debug_barrier()  # the row that was just read may be written in the next turn, by other threads
        if slot < renoised:
            if given:
                eps = tl.load(noise + place, mask=inside, other=0.0)
            else:
                eps = philox_normals(tl.load(seed), tl.load(row_chunk + slot), first_step + slot, RENOISE, quad)
            level = tl.load(next_sigma + slot)
            tl.store(x + place + tl.cast(shift, tl.int64) * elements, (1.0 - level) * clean + level * eps, mask=inside)


def renoise(x, flow, sigma, seed, row_chunk, x0, advance: str, first_step: int, next_sigma=None, noise=None,
            noise_given=None) -> None:  # fmt: skip
    """Updates x and writes x0: torch tensors in the contract's roles and layouts, and its attributes."""
    slots, elements = len(x), x[0].numel()
    renoised = {"shift": slots - 1, "stay": slots, "none": 0}[advance]
    constants = {"HAS_NOISE": noise is not None, "HAS_NOISE_GIVEN": noise_given is not None, "QUADS": QUADS}
    renoise_kernel[(triton.cdiv(elements, 4 * QUADS),)](
        x, flow, sigma, sigma if next_sigma is None else next_sigma, x if noise is None else noise,
        seed if noise_given is None else noise_given, seed, row_chunk, x0, elements, slots, renoised,
        int(advance == "shift"), first_step, **constants,
    )  # fmt: skip


_TYPES = {
    "x": "*fp32", "flow": "*fp32", "sigma": "*fp32", "next_sigma": "*fp32", "noise": "*fp32", "noise_given": "*i32",
    "seed": "*u64", "row_chunk": "*i64", "x0": "*fp32", "elements": "i32", "slots": "i32", "renoised": "i32",
    "shift": "i32", "first_step": "i32",
}  # fmt: skip
VARIANTS = [
    Variant(renoise_kernel, _TYPES, {"HAS_NOISE": noise, "HAS_NOISE_GIVEN": given, "QUADS": QUADS},
            divisible=("x", "flow", "noise", "x0"))
    for noise, given in ((False, False), (True, False), (True, True))
]  # fmt: skip
