"""tensor_to_latents: latents = (x - mean) / std, the contract of csrc/ops/tensor_to_latents/tensor_to_latents.h.

x [A, pixels, C], a plain tensor or a ring -> latents f32 [F, C, pixels]. Bytes (bf16): 6 F C y x. FLOPs: 2 F C y x.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .frame_ring import first_frame, ring_arguments, ring_index
from .variant import Variant

BLOCKS = {"BLOCK_P": 128, "BLOCK_C": 16}


@triton.jit
def tensor_to_latents_kernel(
    x, x_frame, mean, std, latents, x_frames, x_is_ring, pixels, channels,
    HAS_STATISTICS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Grid: (blocks of pixels, blocks of channels, frames)."""
    frame = tl.program_id(2)
    frame_elements = tl.cast(pixels, tl.int64) * channels
    pixel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[:, None]
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    inside = (pixel < pixels) & (channel < channels)
    x += ring_index(first_frame(x_frame, x_frames, x_is_ring), frame, x_frames) * frame_elements
    values = tl.load(x + pixel * channels + channel, mask=inside, other=0.0).to(tl.float32)
    if HAS_STATISTICS:
        deviation = tl.load(std + channel, mask=channel < channels, other=1.0)
        values = (values - tl.load(mean + channel, mask=channel < channels, other=0.0)) / deviation
    tl.store(latents + frame * frame_elements + channel * pixels + pixel, values, mask=inside)


def tensor_to_latents(x, latents, mean=None, std=None, x_frame=None) -> None:
    """Writes latents: torch tensors in the contract's roles and layouts."""
    frames, channels = latents.shape[:2]
    pixels = latents.shape[2] * latents.shape[3]
    x_frame, *x_ring = ring_arguments(x, x_frame)
    has_statistics = mean is not None
    grid = (triton.cdiv(pixels, BLOCKS["BLOCK_P"]), triton.cdiv(channels, BLOCKS["BLOCK_C"]), frames)
    tensor_to_latents_kernel[grid](
        x, x_frame, mean if has_statistics else latents, std if has_statistics else latents, latents, *x_ring, pixels,
        channels, HAS_STATISTICS=has_statistics, **BLOCKS,
    )  # fmt: skip


_TYPES = {
    "x": "*bf16", "x_frame": "*i64", "mean": "*fp32", "std": "*fp32", "latents": "*fp32", "x_frames": "i32",
    "x_is_ring": "i32", "pixels": "i32", "channels": "i32",
}  # fmt: skip
VARIANTS = [
    Variant(tensor_to_latents_kernel, _TYPES, {"HAS_STATISTICS": given, **BLOCKS}, divisible=("x", "latents"))
    for given in (True, False)
]
