"""Sizes, (height, width) in pixels: what a model takes, and how a picture of another shape is fitted to it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from penstock.runtime.errors import PenstockError

Size = tuple[int, int]

FITS = ("stretch", "crop", "letterbox")
MAX_SIDE = 16384


def fit_size(height: int, width: int, multiple: int = 16) -> Size:
    """The nearest size whose sides are multiples of `multiple`, at least one of it each; halves go up."""

    def nearest(side: int) -> int:
        return max(multiple, (2 * side + multiple) // (2 * multiple) * multiple)

    return nearest(height), nearest(width)


def check_size(size: Any, what: str = "size") -> Size:
    """The size as a pair of ints; PenstockError where it is not one of sane sides."""
    try:
        height, width = (int(side) for side in size)
    except (TypeError, ValueError):
        raise PenstockError(f"{what}: expected (height, width), got {size!r:.80}") from None
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise PenstockError(f"{what}: expected a height and width from 1 to {MAX_SIDE}, got {height}x{width}")
    return height, width


@dataclass(frozen=True)
class Placement:
    """How a picture gets its final size: scaled to `scaled`, then cut or padded with black to `size`, centred."""

    scaled: Size
    size: Size

    @classmethod
    def of(cls, source: Size, size: Size, fit: str) -> Placement:
        """Fit a picture of displayed size `source` into `size`.

        "stretch" ignores its aspect ratio; "crop" keeps it and cuts what stands over; "letterbox" keeps it and fills
        the rest with black. Scaled sides are rounded to the nearest pixel, halves up.
        """
        if fit not in FITS:
            raise PenstockError(f"fit: expected one of {', '.join(FITS)}, got {fit!r:.80}")
        if fit == "stretch":
            return cls(size, size)
        ratios = [Fraction(target, side) for target, side in zip(size, source, strict=True)]
        scale = max(ratios) if fit == "crop" else min(ratios)
        height, width = (max(1, int(side * scale + Fraction(1, 2))) for side in source)
        return cls((height, width), size)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [*scaled, 3] → [*size, 3], C-contiguous; without a copy where nothing has to change."""
        if self.scaled == self.size:
            return np.ascontiguousarray(pixels)
        result = np.zeros((*self.size, 3), np.uint8)
        source, target = [], []
        for inner, outer in zip(self.scaled, self.size, strict=True):
            common = min(inner, outer)
            source.append(slice((inner - common) // 2, (inner - common) // 2 + common))
            target.append(slice((outer - common) // 2, (outer - common) // 2 + common))
        result[tuple(target)] = pixels[tuple(source)]
        return result
