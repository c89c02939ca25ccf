"""noise_mix: x = s eps + (1 - s) latents, s = noise_scale, the contract of csrc/ops/noise_mix/noise_mix.h.

All f32, F C y x elements; eps is the host's noise or drawn here, four numbers at a time. Bytes: 8 to 12 F C y x.
FLOPs: 3 F C y x, and about 50 per drawn number.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .philox_noise import philox_normals
from .variant import Variant

QUADS = 256
INPUT = tl.constexpr(0)  # purpose of the draws


@triton.jit
def noise_mix_kernel(
    latents, noise, noise_given, noise_scale, seed, row_chunk, x, elements,
    HAS_NOISE: tl.constexpr, HAS_NOISE_GIVEN: tl.constexpr, QUADS: tl.constexpr,
):  # fmt: skip
    """Grid: blocks of 4 * QUADS elements."""
    offset = tl.program_id(0) * 4 * QUADS + tl.arange(0, 4 * QUADS)
    inside = offset < elements
    given = HAS_NOISE
    if HAS_NOISE and HAS_NOISE_GIVEN:
        given = tl.load(noise_given) != 0
    if given:
        eps = tl.load(noise + offset, mask=inside, other=0.0)
    else:
        quad = tl.program_id(0) * QUADS + tl.arange(0, QUADS)
        eps = philox_normals(tl.load(seed), tl.load(row_chunk), 0, INPUT, quad)
    scale = tl.load(noise_scale)
    mixed = scale * eps + (1.0 - scale) * tl.load(latents + offset, mask=inside, other=0.0)
    tl.store(x + offset, mixed, mask=inside)


def noise_mix(latents, noise_scale, seed, row_chunk, x, noise=None, noise_given=None) -> None:
    """Writes x: torch tensors in the contract's roles and layouts."""
    constants = {"HAS_NOISE": noise is not None, "HAS_NOISE_GIVEN": noise_given is not None, "QUADS": QUADS}
    noise_mix_kernel[(triton.cdiv(latents.numel(), 4 * QUADS),)](
        latents, latents if noise is None else noise, seed if noise_given is None else noise_given, noise_scale, seed,
        row_chunk, x, latents.numel(), **constants,
    )  # fmt: skip


_TYPES = {
    "latents": "*fp32", "noise": "*fp32", "noise_given": "*i32", "noise_scale": "*fp32", "seed": "*u64",
    "row_chunk": "*i64", "x": "*fp32", "elements": "i32",
}  # fmt: skip
VARIANTS = [
    Variant(noise_mix_kernel, _TYPES, {"HAS_NOISE": noise, "HAS_NOISE_GIVEN": given, "QUADS": QUADS},
            divisible=("latents", "noise", "x"))
    for noise, given in ((False, False), (True, False), (True, True))
]  # fmt: skip
