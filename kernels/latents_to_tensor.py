"""latents_to_tensor: y = clamp(latents * std + mean), the contract of csrc/ops/latents_to_tensor/latents_to_tensor.h.

latents f32 [F, C, pixels] -> y [B, pixels, C], a plain tensor or a ring; clamp tanh3 is 3 tanh(v / 3). A program turns
a block of pixels and channels around, which the compiler does in shared memory. Bytes (bf16): 6 F C y x. FLOPs:
2 F C y x and a tanh.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .frame_ring import first_frame, ring_arguments, ring_index
from .variant import Variant

BLOCKS = {"BLOCK_P": 128, "BLOCK_C": 16}


@triton.jit
def latents_to_tensor_kernel(
    latents, mean, std, y, y_frame, y_frames, y_is_ring, pixels, channels, tanh3,
    HAS_STATISTICS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Grid: (blocks of pixels, blocks of channels, frames)."""
    frame = tl.program_id(2)
    frame_elements = tl.cast(pixels, tl.int64) * channels
    pixel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[:, None]
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    inside = (pixel < pixels) & (channel < channels)
    values = tl.load(latents + frame * frame_elements + channel * pixels + pixel, mask=inside, other=0.0)
    if HAS_STATISTICS:
        deviation = tl.load(std + channel, mask=channel < channels, other=1.0)
        values = values * deviation + tl.load(mean + channel, mask=channel < channels, other=0.0)
    shrunk = tl.exp(tl.abs(values) * (-2.0 / 3.0))
    tanh = (1.0 - shrunk) / (1.0 + shrunk)
    values = tl.where(tanh3 != 0, tl.where(values < 0.0, -3.0, 3.0) * tanh, values)
    y += ring_index(first_frame(y_frame, y_frames, y_is_ring), frame, y_frames) * frame_elements
    tl.store(y + pixel * channels + channel, values.to(y.dtype.element_ty), mask=inside)


def latents_to_tensor(latents, y, clamp: str, mean=None, std=None, y_frame=None) -> None:
    """Writes y: torch tensors in the contract's roles and layouts, and its attribute."""
    frames, channels = latents.shape[:2]
    pixels = latents.shape[2] * latents.shape[3]
    y_frame, *y_ring = ring_arguments(y, y_frame)
    has_statistics = mean is not None
    grid = (triton.cdiv(pixels, BLOCKS["BLOCK_P"]), triton.cdiv(channels, BLOCKS["BLOCK_C"]), frames)
    latents_to_tensor_kernel[grid](
        latents, mean if has_statistics else latents, std if has_statistics else latents, y, y_frame, *y_ring, pixels,
        channels, int(clamp == "tanh3"), HAS_STATISTICS=has_statistics, **BLOCKS,
    )  # fmt: skip


_TYPES = {
    "latents": "*fp32", "mean": "*fp32", "std": "*fp32", "y": "*bf16", "y_frame": "*i64", "y_frames": "i32",
    "y_is_ring": "i32", "pixels": "i32", "channels": "i32", "tanh3": "i32",
}  # fmt: skip
VARIANTS = [
    Variant(latents_to_tensor_kernel, _TYPES, {"HAS_STATISTICS": given, **BLOCKS}, divisible=("latents", "y"))
    for given in (True, False)
]
