"""Pictures of interleaved bytes, as hosts have them on the device, to and from the engine's RGB8.

    rgb[y, x] = (p[red], p[1], p[2 - red])  of the pixel  p = picture + stride y + pixel_bytes x

RGB8 is 3 bytes a pixel and red 0, RGBA8 4 and 0, BGRA8 4 and 2. Alpha is not read, and written as 255. The stride is in
bytes, and negative for a picture that is stored bottom-up; gaps behind rows are not touched. rgb is [height, width, 3]
without gaps. Equal to csrc/engine/picture.cpp. Bytes: (pixel_bytes + 3) width height. FLOPs: none.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .variant import Variant

BLOCK = 512


@triton.jit
def rgb_from_packed_kernel(picture, rgb, stride, width, pixel_bytes, red, BLOCK: tl.constexpr):
    """Grid (blocks of columns, rows)."""
    row = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    pixel = picture + row * stride + pixel_bytes * column
    target = rgb + (row * width + column) * 3
    tl.store(target, tl.load(pixel + red, mask=inside), mask=inside)
    tl.store(target + 1, tl.load(pixel + 1, mask=inside), mask=inside)
    tl.store(target + 2, tl.load(pixel + 2 - red, mask=inside), mask=inside)


@triton.jit
def packed_from_rgb_kernel(rgb, picture, stride, width, pixel_bytes, red, BLOCK: tl.constexpr):
    """Grid (blocks of columns, rows)."""
    row = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    source = rgb + (row * width + column) * 3
    pixel = picture + row * stride + pixel_bytes * column
    tl.store(pixel + red, tl.load(source, mask=inside), mask=inside)
    tl.store(pixel + 1, tl.load(source + 1, mask=inside), mask=inside)
    tl.store(pixel + 2 - red, tl.load(source + 2, mask=inside), mask=inside)
    tl.store(pixel + 3, tl.full((BLOCK,), 255, tl.uint8), mask=inside & (pixel_bytes == 4))


def rgb_from_packed(picture, rgb, red: int) -> None:
    """Writes rgb u8 [height, width, 3] from picture u8 [height, width, 3 or 4], whose rows may have any stride."""
    height, width, pixel_bytes = picture.shape
    grid = (triton.cdiv(width, BLOCK), height)
    rgb_from_packed_kernel[grid](picture, rgb, picture.stride(0), width, pixel_bytes, red, BLOCK)


def packed_from_rgb(rgb, picture, red: int) -> None:
    """Writes such a picture from such an rgb."""
    height, width, pixel_bytes = picture.shape
    grid = (triton.cdiv(width, BLOCK), height)
    packed_from_rgb_kernel[grid](rgb, picture, picture.stride(0), width, pixel_bytes, red, BLOCK)


_SIZES = {"stride": "i64", "width": "i32", "pixel_bytes": "i32", "red": "i32"}
VARIANTS = [
    Variant(rgb_from_packed_kernel, {"picture": "*u8", "rgb": "*u8"} | _SIZES, {"BLOCK": BLOCK}),
    Variant(packed_from_rgb_kernel, {"rgb": "*u8", "picture": "*u8"} | _SIZES, {"BLOCK": BLOCK}),
]
