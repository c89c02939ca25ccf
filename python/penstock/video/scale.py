"""Pictures between PyAV and numpy: colour conversion, scaling, rotation, PNG."""

from __future__ import annotations

from typing import Any

import numpy as np

from .geometry import Placement
from .pyav import load_av


class Scaler:
    """Turns decoded frames into uint8 [H, W, 3] RGB of one placement; keeps the scaler's tables between frames.

    rotation: degrees counterclockwise, a multiple of 90, that a decoded frame must be turned by to stand upright.
    """

    def __init__(self, placement: Placement, rotation: int = 0) -> None:
        self._placement, self._turns = placement, rotation // 90 % 4
        self._reformatter = load_av().video.reformatter.VideoReformatter()

    def pixels(self, frame: Any) -> np.ndarray:
        """A decoded frame of any size and pixel format → uint8 [*placement.size, 3]."""
        height, width = self._placement.scaled
        if self._turns % 2:
            height, width = width, height
        rgb = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=accurate_bilinear())
        return self._placement.apply(np.rot90(rgb.to_ndarray(), self._turns))


def accurate_bilinear() -> Any:
    """The scaler's filter: bilinear, which averages when it shrinks, as published; exact rounding, full chroma."""
    flags = load_av().video.reformatter.Interpolation
    return flags.BILINEAR | flags.ACCURATE_RND | flags.FULL_CHR_H_INT | flags.BITEXACT


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 3] → the bytes of a PNG file."""
    av = load_av()
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width = pixels.shape[:2]
    codec.pix_fmt = "rgb24"
    codec.time_base = 1
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
    return b"".join(bytes(packet) for part in (frame, None) for packet in codec.encode(part))
