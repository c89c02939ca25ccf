"""Frames of a video file, in any container and codec that PyAV reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from penstock.runtime.errors import PenstockError

from .geometry import Placement, Size
from .pyav import av_errors_as_penstock, load_av
from .scale import Scaler
from .source import DEFAULT_FPS


class VideoDamaged(UserWarning):
    """A video file had fewer frames than its header says, or packets that could not be decoded."""


class ContainerSource:
    """A video file, its first frame decoded: rotation and size are known only then.

    Rotation metadata and pixels that are not square are honoured in source_size. The rate of a file of variable rate
    is its average. Broken packets are passed over, with one VideoDamaged warning at the end, as players do.
    """

    def __init__(self, path: Path, size: Size | None, fit: str) -> None:
        self._path, self._av = path, load_av()
        with ExitStack() as stack:
            with av_errors_as_penstock(path, "read it as a video"):
                self._container = stack.enter_context(self._av.open(str(path)))
            if not self._container.streams.video:
                raise PenstockError(f"{path}: expected a video stream, found none")
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
            self._seen = self._discarded = self._broken = 0
            self._frames = self._decode()
            first = next(self._frames, None)
            if first is None:
                raise PenstockError(f"{path}: expected a video, found no frame in it that can be decoded")
            self._first = first
            self.source_size = _displayed_size(first, self._stream.sample_aspect_ratio)
            self.size = size or self.source_size
            self._scaler = Scaler(Placement.of(self.source_size, self.size, fit), first.rotation)
            self.fps = Fraction(self._stream.average_rate or self._stream.guessed_rate or DEFAULT_FPS)
            self.frame_count: int | None = self._stream.frames or None
            self.has_audio = bool(self._container.streams.audio)
            self._close = stack.pop_all().close

    def items(self) -> Iterator[Any]:
        """Every decoded frame, in the order of display."""
        yield self._first
        yield from self._frames
        expected = self._stream.frames - self._discarded
        if self._broken or self._seen < expected:
            of = f" of {expected}" if expected > 0 else ""
            message = f"{self._path}: ended after {self._seen}{of} frames, {self._broken} packets could not be decoded"
            warnings.warn(message, VideoDamaged, stacklevel=2)

    def pixels(self, item: Any) -> np.ndarray:
        """A decoded frame as uint8 [*size, 3] RGB."""
        with av_errors_as_penstock(self._path, "convert a frame"):
            return self._scaler.pixels(item)

    def close(self) -> None:
        """Close the file. Frames that were taken stay valid."""
        self._frames.close()
        self._close()

    def _decode(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            with av_errors_as_penstock(self._path, f"read past frame {self._seen}"):
                packet = next(packets, None)
            if packet is None:
                return
            self._discarded += packet.is_discard  # before or after what an edit list shows
            try:
                frames = packet.decode()
            except self._av.FFmpegError as error:
                if isinstance(error, EOFError):
                    return
                self._broken += 1
                continue
            self._seen += len(frames)
            yield from frames


def _displayed_size(frame: Any, pixel_aspect: Fraction | None) -> Size:
    """(height, width) on a screen of square pixels, upright."""
    height, width = frame.height, frame.width
    if pixel_aspect:
        width = max(1, round(width * pixel_aspect))
    if frame.rotation % 90:
        return height, width  # a tilt is an effect, not an orientation
    return (width, height) if frame.rotation % 180 else (height, width)
