"""Writing videos frame by frame: H.264 files, folders of pictures, raw frames."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from penstock.runtime.errors import PenstockError

from . import raw
from .folder import FolderSink
from .geometry import Size, check_size
from .h264 import FORMATS, H264Sink
from .reader import check_fps


class Sink(Protocol):
    """Where frames go: `write` takes uint8 [H, W, 3], C-contiguous; `close` completes what was written."""

    def write(self, frame: np.ndarray) -> None: ...

    def close(self) -> None: ...


class VideoWriter:
    """Writes frames of one size; a context manager.

    path: a .mp4, .m4v, .mov or .mkv file (H.264), a new or empty folder for pictures (a name without suffix), a .rgb
    or .raw file or "-" for rgb24 frames. fps: frames a second, kept exactly as a Fraction. size: (height, width).
    audio_from: a file whose audio track goes along, H.264 files only; audio_start: seconds of it to skip. The audio
    ends with the last frame. crf: quality of H.264, 0 (lossless) to 51.

    A file gets its name when it is closed. Leaving the context by an exception or Ctrl-C closes it too: what was
    written until then is kept as a valid, shorter video. Raises PenstockError for bad arguments and failed writing,
    and on leaving the context normally without a frame written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction | float,
        size: Size,
        audio_from: str | os.PathLike[str] | None = None,
        audio_start: Fraction | float = 0,
        crf: int = 18,
    ) -> None:
        self.path, self.frames_written = os.fspath(path), 0
        self._size = check_size(size)
        rate = check_fps(fps)
        if type(crf) is not int or not 0 <= crf <= 51:
            raise PenstockError(f"crf: expected an integer from 0 to 51, got {crf!r:.80}")
        if not isinstance(audio_start, int | float | Fraction) or not 0 <= audio_start < 1e9:
            raise PenstockError(f"audio_start: expected seconds, 0 or more, got {audio_start!r:.80}")
        self._sink: Sink | None = _open_sink(self.path, rate, self._size, audio_from, Fraction(audio_start), crf)

    def write(self, frames: Any) -> None:
        """One frame [H, W, 3] or several [n, H, W, 3], uint8, anything that numpy takes as such an array."""
        if self._sink is None:
            raise PenstockError(f"{self.path}: is closed; no frame can be written")
        try:
            array = np.asarray(frames)
        except (TypeError, ValueError, RuntimeError) as error:  # uneven lists, tensors on a device
            raise PenstockError(
                f"{self.path}: expected frames as an array, got {type(frames).__name__} ({error})"
            ) from None
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[-3:] != (*self._size, 3):
            height, width = self._size
            raise PenstockError(
                f"{self.path}: expected frames uint8 [{height}, {width}, 3] or [n, {height}, {width}, 3], "
                f"got {array.dtype} {list(array.shape)}"
            )
        for frame in np.ascontiguousarray(array).reshape(-1, *self._size, 3):
            self._sink.write(frame)
            self.frames_written += 1

    def close(self) -> None:
        """Complete the file under its name; nothing more can be written. Without a frame there is no video file."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except PenstockError:
            if kind is None:  # else the error that is under way tells more
                raise
        if kind is None and not self.frames_written:
            raise PenstockError(f"{self.path}: expected at least one frame to write, got none")


def _open_sink(
    name: str, fps: Fraction, size: Size, audio_from: str | os.PathLike[str] | None, audio_start: Fraction, crf: int
) -> Sink:
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix in FORMATS and not path.is_dir():
        return H264Sink(path, fps, size, crf, audio_from, audio_start)
    if audio_from is not None:
        raise PenstockError(f"{name}: expected a video file to put audio into ({', '.join(FORMATS)}), got another kind")
    if name == raw.STANDARD_STREAM or suffix in raw.SUFFIXES:
        return raw.RawSink(name)
    if suffix and not path.is_dir():
        kinds = ", ".join((*FORMATS, *raw.SUFFIXES))
        raise PenstockError(f"{name}: expected {kinds}, a folder or - to write video to, got {suffix!r}")
    return FolderSink(path)
