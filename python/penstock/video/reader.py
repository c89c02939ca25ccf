"""Reading videos frame by frame: files, folders of pictures, raw frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np

from penstock.runtime.errors import PenstockError, os_errors_as_penstock

from . import raw
from .container import ContainerSource
from .folder import FolderSource
from .geometry import FITS, Size, check_size
from .source import Source, VideoInfo


class VideoReader(Iterator[np.ndarray]):
    """Iterates over the frames of a video, uint8 [H, W, 3] RGB; `info` tells what is known of it beforehand.

    A context manager; the source is closed at the last frame too.
    """

    def __init__(self, source: Source, path: str, start: int, limit: int | None) -> None:
        count = source.frame_count
        if count is not None:
            count = max(0, count - start)
            count = count if limit is None else min(count, limit)
        self.info = VideoInfo(path, source.size, source.source_size, source.fps, count, source.has_audio)
        self._source = source
        self._items = islice(source.items(), start, None if limit is None else start + limit)

    def __next__(self) -> np.ndarray:
        try:
            return self._source.pixels(next(self._items))
        except BaseException:  # the end, damage or an interruption: in any case no frame follows
            self.close()
            raise

    def close(self) -> None:
        """Let go of the source; no frame follows."""
        self._items = islice(iter(()), 0)
        self._source.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_video(
    path: str | os.PathLike[str],
    size: Size | None = None,
    fit: str = "stretch",
    start: int = 0,
    limit: int | None = None,
    fps: Fraction | int | None = None,
    raw_size: Size | None = None,
) -> VideoReader:
    """Open a video; the result yields its frames as uint8 [H, W, 3] RGB, one by one, and has `info`.

    path: a video file of any format that PyAV reads, a folder of pictures, a .rgb or .raw file of rgb24 frames, or
    "-" for rgb24 frames on standard input. size: (height, width) of the frames, default that of the video. fit: how
    another aspect ratio gets there, "stretch", "crop" or "letterbox". start: frames to skip, limit: frames at most.
    fps: the rate of pictures and raw frames, which have none (default 16); a video file keeps its own. raw_size:
    (height, width) of raw frames, default `size`.

    Raises PenstockError, here or while reading, where there is no video or an argument is bad; a damaged file that
    still has frames gives a VideoDamaged warning at its end.
    """
    name = os.fspath(path)
    size = None if size is None else check_size(size)
    raw_size = None if raw_size is None else check_size(raw_size, "raw_size")
    if fit not in FITS:
        raise PenstockError(f"fit: expected one of {', '.join(FITS)}, got {fit!r:.80}")
    for what, value in (("start", start), ("limit", 0 if limit is None else limit)):
        if type(value) is not int or value < 0:
            raise PenstockError(f"{what}: expected a number of frames, got {value!r:.80}")
    rate = None if fps is None else check_fps(fps)
    return VideoReader(_open_source(name, size, fit, rate, raw_size), name, start, limit)


def _open_source(name: str, size: Size | None, fit: str, fps: Fraction | None, raw_size: Size | None) -> Source:
    path = Path(name)
    if name == raw.STANDARD_STREAM or path.suffix.lower() in raw.SUFFIXES:
        return raw.RawSource(name, size, fit, fps, raw_size)
    with os_errors_as_penstock(path, "read"):
        if path.is_dir():
            return FolderSource(path, size, fit, fps)
        if not path.exists():
            raise PenstockError(f"{path}: expected a video, found nothing there")
        if path.is_file() and path.stat().st_size == 0:
            raise PenstockError(f"{path}: expected a video, got an empty file")
    return ContainerSource(path, size, fit)


def check_fps(fps: Fraction | float) -> Fraction:
    """The rate as a Fraction; a float becomes the nearest of small terms. PenstockError where it makes no sense."""
    try:
        # Terms beyond 32 bits fit in no container.
        rate = Fraction(fps).limit_denominator(100_000 if isinstance(fps, float) else 2_000_000)
    except (TypeError, ValueError, OverflowError):
        raise PenstockError(f"fps: expected a positive number, got {fps!r:.80}") from None
    if not 0 < rate <= 1000:
        raise PenstockError(f"fps: expected a rate above 0 and up to 1000, got {float(rate):g}")
    return rate
