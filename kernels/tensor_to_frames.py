"""tensor_to_frames: frames = round(clamp((x + 1) 127.5, 0, 255)), or of 255 x, the contract of
csrc/ops/tensor_to_frames/tensor_to_frames.h.

x [A, Y, X, 3], a plain tensor or a ring -> frames u8 [F, Y, X, 3]: of the call's frames all but the first ``skip``.
Bytes (bf16): 9 F Y X. FLOPs: 15 F Y X.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .frame_ring import first_frame, ring_arguments, ring_index
from .variant import Variant

BLOCK = 2048


@triton.jit
def tensor_to_frames_kernel(x, x_frame, frames, x_frames, x_is_ring, elements, skip, is_signed, BLOCK: tl.constexpr):
    """elements: of a frame. Grid: (blocks of elements, frames that are kept)."""
    WHOLE: tl.constexpr = 12582912.0  # 1.5 * 2^23: from here on floats are integers, so adding it rounds, to even
    frame = tl.program_id(1)
    offset = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offset < elements
    x += ring_index(first_frame(x_frame, x_frames, x_is_ring), skip + frame, x_frames).to(tl.int64) * elements
    values = tl.load(x + offset, mask=inside, other=0.0).to(tl.float32)
    values = (values + tl.where(is_signed != 0, 1.0, 0.0)) * tl.where(is_signed != 0, 127.5, 255.0)
    values = tl.where(values > 0.0, values, 0.0)  # false for NaN
    values = tl.where(values < 255.0, values, 255.0)
    pixels = ((values + WHOLE) - WHOLE).to(tl.int32).to(tl.uint8)
    tl.store(frames + tl.cast(frame, tl.int64) * elements + offset, pixels, mask=inside)


def tensor_to_frames(x, frames, skip: int, value_range: str, x_frame=None) -> None:
    """Writes frames: torch tensors in the contract's roles and layouts; value_range signed or unit."""
    elements = frames[0].numel()
    x_frame, *x_ring = ring_arguments(x, x_frame)
    tensor_to_frames_kernel[(triton.cdiv(elements, BLOCK), len(frames))](
        x, x_frame, frames, *x_ring, elements, skip, int(value_range == "signed"), BLOCK
    )


_TYPES = {"x": "*bf16", "x_frame": "*i64", "frames": "*u8", "x_frames": "i32", "x_is_ring": "i32", "elements": "i32",
          "skip": "i32", "is_signed": "i32"}  # fmt: skip
VARIANTS = [Variant(tensor_to_frames_kernel, _TYPES, {"BLOCK": BLOCK}, divisible=("x", "frames", "elements"))]
