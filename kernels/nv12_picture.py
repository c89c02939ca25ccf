"""NV12 pictures, as video decoders and encoders have them on the device, to and from the engine's RGB8.

With the fixed-point coefficients of csrc/engine/picture.h (times 2^16), which the engine passes:

    Y' = (y - y_offset) y_scale + 2^15                    y  = (y_r R + y_g G + y_b B + 2^16 y_offset + 2^15) >> 16
    R = (Y' + r_cr Cr) >> 16                              of the sums R, G, B of two by two pixels:
    G = (Y' - g_cb Cb - g_cr Cr) >> 16                    Cb = (chroma B - cb_r R - cb_g G + 128 2^18 + 2^17) >> 18
    B = (Y' + b_cb Cb) >> 16                              Cr = (chroma R - cr_g G - cr_b B + 128 2^18 + 2^17) >> 18

each clamped to 0..255; Cb and Cr less 128 at the left. All of it is exact in int32, and equal to picture.cpp. luma
u8 [height, width] and pairs (Cb, Cr) u8 [height/2, width]: strides in bytes, perhaps negative; gaps behind rows are not
touched. rgb u8 [height, width, 3] without gaps. Bytes: 4.5 width height. Integer operations: 15 a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl

from .variant import Variant

BLOCK = 256  # columns in, pairs of columns out


@triton.jit
def _byte(value):
    return tl.minimum(tl.maximum(value, 0), 255).to(tl.uint8)


@triton.jit
def rgb_from_nv12_kernel(luma, pairs, rgb, luma_stride, pairs_stride, width, y_offset, y_scale, r_cr, g_cb, g_cr, b_cb,
                         BLOCK: tl.constexpr):  # fmt: skip
    """Grid (blocks of columns, rows)."""
    row = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    pair = pairs + row // 2 * pairs_stride + column // 2 * 2
    y = tl.load(luma + row * luma_stride + column, mask=inside, other=0).to(tl.int32)
    cb = tl.load(pair, mask=inside, other=0).to(tl.int32) - 128
    cr = tl.load(pair + 1, mask=inside, other=0).to(tl.int32) - 128
    level = (y - y_offset) * y_scale + 32768
    target = rgb + (row * width + column) * 3
    tl.store(target, _byte((level + r_cr * cr) >> 16), mask=inside)
    tl.store(target + 1, _byte((level - g_cb * cb - g_cr * cr) >> 16), mask=inside)
    tl.store(target + 2, _byte((level + b_cb * cb) >> 16), mask=inside)


@triton.jit
def _pixel(source, inside):
    red = tl.load(source, mask=inside, other=0).to(tl.int32)
    green = tl.load(source + 1, mask=inside, other=0).to(tl.int32)
    blue = tl.load(source + 2, mask=inside, other=0).to(tl.int32)
    return red, green, blue


@triton.jit
def nv12_from_rgb_kernel(rgb, luma, pairs, luma_stride, pairs_stride, width, y_offset, y_r, y_g, y_b, cb_r, cb_g,
                         chroma, cr_g, cr_b, BLOCK: tl.constexpr):  # fmt: skip
    """Grid (blocks of pairs of columns, pairs of rows)."""
    row = tl.program_id(1).to(tl.int64)
    column = 2 * (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))
    inside = column < width
    red = tl.zeros((BLOCK,), tl.int32)
    green = tl.zeros((BLOCK,), tl.int32)
    blue = tl.zeros((BLOCK,), tl.int32)
    for place in tl.static_range(4):
        y, x = 2 * row + place // 2, column + place % 2
        r, g, b = _pixel(rgb + (y * width + x) * 3, inside)
        level = (y_r * r + y_g * g + y_b * b + (y_offset << 16) + 32768) >> 16
        tl.store(luma + y * luma_stride + x, _byte(level), mask=inside)
        red, green, blue = red + r, green + g, blue + b
    centre = (128 << 18) + (1 << 17)
    pair = pairs + row * pairs_stride + column
    tl.store(pair, _byte((chroma * blue - cb_r * red - cb_g * green + centre) >> 18), mask=inside)
    tl.store(pair + 1, _byte((chroma * red - cr_g * green - cr_b * blue + centre) >> 18), mask=inside)


def rgb_from_nv12(luma, pairs, rgb, coefficients: Sequence[int]) -> None:
    """Writes rgb; coefficients: y_offset, y_scale, r_cr, g_cb, g_cr, b_cb."""
    height, width = luma.shape
    grid = (triton.cdiv(width, BLOCK), height)
    rgb_from_nv12_kernel[grid](luma, pairs, rgb, luma.stride(0), pairs.stride(0), width, *coefficients, BLOCK)


def nv12_from_rgb(rgb, luma, pairs, coefficients: Sequence[int]) -> None:
    """Writes luma and pairs; coefficients: y_offset, y_r, y_g, y_b, cb_r, cb_g, chroma, cr_g, cr_b."""
    height, width = luma.shape
    grid = (triton.cdiv(width, 2 * BLOCK), height // 2)
    nv12_from_rgb_kernel[grid](rgb, luma, pairs, luma.stride(0), pairs.stride(0), width, *coefficients, BLOCK)


_STRIDES = {"luma_stride": "i64", "pairs_stride": "i64", "width": "i32"}
_TO_RGB = dict.fromkeys(("y_offset", "y_scale", "r_cr", "g_cb", "g_cr", "b_cb"), "i32")
_FROM_RGB = dict.fromkeys(("y_offset", "y_r", "y_g", "y_b", "cb_r", "cb_g", "chroma", "cr_g", "cr_b"), "i32")
_PLANES = {"luma": "*u8", "pairs": "*u8"}
VARIANTS = [
    Variant(rgb_from_nv12_kernel, _PLANES | {"rgb": "*u8"} | _STRIDES | _TO_RGB, {"BLOCK": BLOCK}),
    Variant(nv12_from_rgb_kernel, {"rgb": "*u8"} | _PLANES | _STRIDES | _FROM_RGB, {"BLOCK": BLOCK}),
]
