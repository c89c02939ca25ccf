"""What every kind of video source offers to `read_video`, and the one rule by which frames are fitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from .geometry import Size

DEFAULT_FPS = Fraction(16)  # of the Wan models; for sources that have no frame rate of their own


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video when it is opened.

    size: of the frames as delivered, source_size: as they would be displayed, both (height, width); fps: frames a
    second, for a variable rate the average; frame_count: frames that will be delivered, by what the container says,
    or None; has_audio: whether there is an audio track.
    """

    path: str
    size: Size
    source_size: Size
    fps: Fraction
    frame_count: int | None
    has_audio: bool


class Source(Protocol):
    """An opened source. `items` yields its frames undecoded or raw, which `pixels` turns into arrays: frames that are
    skipped cost little. All of it raises PenstockError where the source is damaged."""

    source_size: Size
    size: Size
    fps: Fraction
    frame_count: int | None
    has_audio: bool

    def items(self) -> Iterator[Any]: ...

    def pixels(self, item: Any) -> np.ndarray: ...

    def close(self) -> None: ...
