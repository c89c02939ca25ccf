"""frames_to_tensor: y = v / 127.5 - 1, or v / 255, the contract of csrc/ops/frames_to_tensor/frames_to_tensor.h.

frames u8 [T, Y, X, 3] -> y [B, Y, X, 3], a plain tensor or a ring. Bytes (bf16): 9 T Y X. FLOPs: 6 T Y X.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .frame_ring import first_frame, ring_arguments, ring_index
from .variant import Variant

BLOCK = 2048


@triton.jit
def frames_to_tensor_kernel(frames, y, y_frame, y_frames, y_is_ring, elements, is_signed, BLOCK: tl.constexpr):
    """elements: of a frame. Grid: (blocks of elements, frames)."""
    frame = tl.program_id(1)
    offset = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offset < elements
    values = tl.load(frames + tl.cast(frame, tl.int64) * elements + offset, mask=inside, other=0).to(tl.float32)
    values = tl.div_rn(values, tl.where(is_signed != 0, 127.5, 255.0)) - tl.where(is_signed != 0, 1.0, 0.0)
    y += ring_index(first_frame(y_frame, y_frames, y_is_ring), frame, y_frames).to(tl.int64) * elements
    tl.store(y + offset, values.to(y.dtype.element_ty), mask=inside)


def frames_to_tensor(frames, y, value_range: str, y_frame=None) -> None:
    """Writes y: torch tensors in the contract's roles and layouts; value_range signed or unit."""
    elements = frames[0].numel()
    y_frame, *y_ring = ring_arguments(y, y_frame)
    frames_to_tensor_kernel[(triton.cdiv(elements, BLOCK), len(frames))](
        frames, y, y_frame, *y_ring, elements, int(value_range == "signed"), BLOCK
    )


_TYPES = {"frames": "*u8", "y": "*bf16", "y_frame": "*i64", "y_frames": "i32", "y_is_ring": "i32", "elements": "i32",
          "is_signed": "i32"}  # fmt: skip
VARIANTS = [Variant(frames_to_tensor_kernel, _TYPES, {"BLOCK": BLOCK}, divisible=("frames", "y", "elements"))]
