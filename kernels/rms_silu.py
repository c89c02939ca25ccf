"""rms_silu: y = act(x / max(|x|, 1e-12) * sqrt(C) * gamma), the contract of csrc/ops/rms_silu/rms_silu.h.

x and y are frames [pixels, C], channels last; |x| is the norm over a pixel's channels. One program normalises BLOCK_P
pixels, which it reads once, and puts them where the convolution behind it will look for them, in its ring; with y_scale
as e4m3 codes, half as many bytes. All in f32. Bytes (bf16): 4 T P Q C. FLOPs: about 20 T P Q C. Rows of BLOCK_C
channels, the next power of two, cost no bytes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .float8 import FP8_ARCHITECTURES, as_codes
from .frame_ring import first_frame, ring_arguments, ring_index
from .variant import Variant


@triton.jit
def rms_silu_kernel(
    x, x_frame, gamma, y, y_frame, y_scale, x_frames, x_is_ring, y_frames, y_is_ring, pixels, channels, silu,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, Y_CODES: tl.constexpr,
):  # fmt: skip
    """Grid: (blocks of pixels, frames)."""
    frame = tl.program_id(1)
    frame_elements = tl.cast(pixels, tl.int64) * channels
    x += ring_index(first_frame(x_frame, x_frames, x_is_ring), frame, x_frames) * frame_elements
    y += ring_index(first_frame(y_frame, y_frames, y_is_ring), frame, y_frames) * frame_elements
    pixel = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[:, None]
    channel = tl.arange(0, BLOCK_C)[None, :]
    offset = pixel * channels + channel
    valid = (pixel < pixels) & (channel < channels)
    values = tl.load(x + offset, mask=valid, other=0.0).to(tl.float32)
    norm = tl.sqrt(tl.sum(values * values, axis=1, keep_dims=True))
    scale = tl.sqrt(tl.cast(channels, tl.float32)) / tl.where(norm < 1e-12, 1e-12, norm)  # NaN stays
    values *= scale * tl.load(gamma + channel, mask=channel < channels, other=0.0).to(tl.float32)
    values = tl.where(silu != 0, values / (1.0 + tl.exp(-values)), values)
    if Y_CODES:
        values *= 1.0 / tl.load(y_scale)
    tl.store(y + offset, values.to(y.dtype.element_ty), mask=valid)


def tile(channels: int) -> dict[str, int]:
    """The launcher's rule: as many pixels as give every thread 32 values."""
    block = max(triton.next_power_of_2(channels), 16)
    return {"BLOCK_P": max(4096 // block, 1), "BLOCK_C": block}


def rms_silu(x, gamma, y, frames: int, activation: str, x_frame=None, y_frame=None, y_scale=None) -> None:
    """Writes y: torch tensors in the contract's roles and layouts, and its attributes."""
    pixels, channels = x.shape[1] * x.shape[2], x.shape[3]
    constants = tile(channels)
    x_frame, *x_ring = ring_arguments(x, x_frame)
    y_frame, *y_ring = ring_arguments(y, y_frame)
    rms_silu_kernel[(triton.cdiv(pixels, constants["BLOCK_P"]), frames)](
        x, x_frame, gamma, as_codes(y, y_scale), y_frame, gamma if y_scale is None else y_scale, *x_ring, *y_ring,
        pixels, channels, int(activation == "silu"), **constants, Y_CODES=y_scale is not None,
    )  # fmt: skip


_TYPES = {
    "x": "*bf16", "x_frame": "*i64", "gamma": "*bf16", "y": "*bf16", "y_frame": "*i64", "y_scale": "*fp32",
    "x_frames": "i32", "x_is_ring": "i32", "y_frames": "i32", "y_is_ring": "i32", "pixels": "i32", "channels": "i32",
    "silu": "i32",
}  # fmt: skip


def _variant(channels: int, is_coded: bool) -> Variant:
    types = _TYPES | {"y": "*fp8e4nv"} if is_coded else _TYPES
    return Variant(rms_silu_kernel, types, tile(channels) | {"Y_CODES": is_coded}, ("x", "gamma", "y", "channels"),
                   architectures=FP8_ARCHITECTURES if is_coded else ())  # fmt: skip


VARIANTS = [_variant(channels, is_coded) for is_coded in (False, True) for channels in (16, 32, 64, 128, 256, 512)]
