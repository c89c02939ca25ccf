"""The forms of csrc/ops/causal_conv3d/causal_conv3d_sm90.cu, and the rules by which it cuts a layer into tiles."""

from __future__ import annotations

from typing import NamedTuple

import triton

from .causal_conv3d import PIXELS, SCALES, parameter_types
from .nvcc import CudaVariant

MULTIPROCESSORS = 132  # of an H100 or H200


class HopperTile(NamedTuple):
    """A tile of causal_conv3d_sm90: output channels, taps that share their pixels, and a box of pixels."""

    columns: int
    taps: int
    box: tuple[int, int]

    def boxes(self, picture: tuple[int, int]) -> int:
        """How many boxes cover a picture."""
        return triton.cdiv(picture[0], self.box[0]) * triton.cdiv(picture[1], self.box[1])


def _pixels(columns: int) -> int:
    """Of a tile, whose sums take at most 96 registers of a thread, in whole blocks of 64 for three warpgroups."""
    return 192 * (192 // columns)


def hopper_tile(inputs: int, outputs: int, kernel_height: int, stride: int, picture: tuple[int, int],
                pictures: int) -> HopperTile | None:  # fmt: skip
    """The rules of csrc/ops/causal_conv3d/tile.h, with their reasons; None for a layer that Triton does.

    picture: height and width in positions, which are pixels of y, of a doubled picture before doubling; pictures: how
    many of them, frames of y times the places of a doubled one.
    """
    widest = next((n for n in (192, 96, 64) if outputs % n == 0), 0)
    if inputs % 32 or not widest:
        return None
    taps = kernel_height if stride == 1 and kernel_height in (2, 3) else 1
    tiles = []
    for columns in (192, 128) if widest == 192 and outputs % 128 == 0 else (widest,):
        forms = [HopperTile(columns, taps, (_pixels(columns) // width, width)) for width in (8, 16)]
        tiles.append(min(forms, key=lambda form: form.boxes(picture)))

    def time(tile: HopperTile) -> int:
        waves = triton.cdiv(tile.boxes(picture) * pictures * (outputs // tile.columns), MULTIPROCESSORS)
        return waves * tile.columns * _pixels(tile.columns)

    return min(tiles, key=time)


def _hopper_variant(columns: int, taps: int) -> CudaVariant:
    """A form of csrc/ops/causal_conv3d/causal_conv3d_sm90.cu, whose file says how much shared memory it takes."""
    types = {name: kind for name, kind in parameter_types().items()
             if not name.startswith("has_") and name not in SCALES + PIXELS}  # fmt: skip
    pixel_rows = _pixels(columns) + 16 * (taps - 1)
    stage = 64 * (pixel_rows + taps * columns)
    stages = (224 << 10) // stage
    return CudaVariant(
        "causal_conv3d_sm90",
        "ops/causal_conv3d/causal_conv3d_sm90.cu",
        {**types, "x": "tensormap", "weight": "tensormap", "frames": "i32", "box_width": "i32"},
        {"COLUMNS": columns, "TAPS": taps},
        shared=stages * (stage + 16) + 1024,
        divisible=("bias", "residual", "gamma", "y", "raw"),
        warps=16,
        needs=("HGMMA", "UTMALDG", "USETMAXREG"),
        architectures=("90a",),
    )


VARIANTS = [_hopper_variant(columns, taps) for columns in (64, 96, 128, 192) for taps in (1, 2, 3)]
