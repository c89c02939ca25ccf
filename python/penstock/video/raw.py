"""Raw frames: rgb24, one after the other, nothing else; files and the standard streams."""

from __future__ import annotations

import math
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from penstock.runtime.errors import PenstockError, os_errors_as_penstock

from .geometry import Placement, Size
from .pyav import load_av
from .scale import Scaler
from .source import DEFAULT_FPS

SUFFIXES = (".rgb", ".raw")
STANDARD_STREAM = "-"


class RawSource:
    """Raw rgb24 frames of `raw_size` (default: `size`) from a file or, for "-", from standard input."""

    has_audio = False

    def __init__(self, path: str, size: Size | None, fit: str, fps: Fraction | None, raw_size: Size | None) -> None:
        found = raw_size or size
        if found is None:
            raise PenstockError(f"{path}: expected a size, which raw frames do not tell, got none")
        self._path, self.source_size, self.size = path, found, size or found
        self._scaler = None if self.size == found else Scaler(Placement.of(found, self.size, fit))
        self.fps = fps or DEFAULT_FPS
        self._bytes = 3 * math.prod(found)
        self.frame_count: int | None = None
        with ExitStack() as stack, os_errors_as_penstock(path, "read"):
            if path == STANDARD_STREAM:
                self._file: BinaryIO = sys.stdin.buffer
            else:
                self._file = stack.enter_context(open(path, "rb"))
                self.frame_count = self._count_frames(os.fstat(self._file.fileno()).st_size)
            self._close = stack.pop_all().close

    def items(self) -> Iterator[bytes]:
        """The bytes of every frame."""
        count = 0
        while True:
            with os_errors_as_penstock(self._path, "read"):
                data = self._file.read(self._bytes)
            if not data:
                return
            if len(data) < self._bytes:
                raise PenstockError(f"{self._path}: frame {count}: expected {self._bytes} bytes, got {len(data)}")
            count += 1
            yield data

    def pixels(self, item: bytes) -> np.ndarray:
        """The bytes of a frame as uint8 [*size, 3], writable."""
        pixels = np.frombuffer(item, np.uint8).reshape(*self.source_size, 3)
        if self._scaler is None:
            return pixels.copy()
        return self._scaler.pixels(load_av().VideoFrame.from_ndarray(pixels, "rgb24"))

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._close()

    def _count_frames(self, size: int) -> int:
        if size == 0 or size % self._bytes:
            height, width = self.source_size
            raise PenstockError(
                f"{self._path}: expected rgb24 frames of {height}x{width}, {self._bytes} bytes each, got {size} bytes"
            )
        return size // self._bytes


class RawSink:
    """Writes raw rgb24 frames to a file, which gets its name on `close`, or to standard output for "-".

    No file where there was no frame.
    """

    def __init__(self, path: str) -> None:
        self._path, self._count = Path(path), 0
        self._temporary: Path | None = None
        if path == STANDARD_STREAM:
            self._file: BinaryIO = sys.stdout.buffer
        else:
            self._temporary = temporary_beside(self._path)
            with os_errors_as_penstock(path, "write"):
                self._file = open(self._temporary, "xb")  # noqa: SIM115 - closed by close()

    def write(self, frame: np.ndarray) -> None:
        """One frame uint8 [H, W, 3]."""
        self._count += 1
        if self._temporary is None:
            self._file.write(frame.data)  # a reader that went away is for the caller to see, as BrokenPipeError
            return
        with os_errors_as_penstock(self._path, "write"):
            self._file.write(frame.data)

    def close(self) -> None:
        """Complete the file under its name."""
        if self._temporary is None:
            self._file.flush()
            return
        with os_errors_as_penstock(self._path, "write"):
            try:
                self._file.close()
                if self._count:
                    os.replace(self._temporary, self._path)
            finally:
                self._temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """A name that is free, in the same folder, for a file that is to be renamed to `path`."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
