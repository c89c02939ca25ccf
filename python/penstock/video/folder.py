"""Folders of pictures, one a frame."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from penstock.runtime.errors import PenstockError, os_errors_as_penstock

from .geometry import Placement, Size
from .pyav import av_errors_as_penstock, load_av
from .scale import Scaler, encode_png
from .source import DEFAULT_FPS

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


class FolderSource:
    """The pictures of a folder in the order of their names, numbers in them by value: 2.png before 10.png.

    Without `size`, all must have the size of the first.
    """

    has_audio = False

    def __init__(self, path: Path, size: Size | None, fit: str, fps: Fraction | None) -> None:
        with os_errors_as_penstock(path, "read"):
            self._files = sorted((file for file in path.iterdir() if file.suffix.lower() in SUFFIXES), key=_natural)
        if not self._files:
            raise PenstockError(f"{path}: expected pictures ({', '.join(SUFFIXES)}) in the folder, found none")
        first = _decode(self._files[0])
        self.source_size: Size = (first.height, first.width)
        self.size, self._fit, self._must_match = size or self.source_size, fit, size is None
        self._scalers: dict[Size, Scaler] = {}
        self.fps, self.frame_count = fps or DEFAULT_FPS, len(self._files)

    def items(self) -> Iterator[Path]:
        """The picture files."""
        return iter(self._files)

    def pixels(self, item: Path) -> np.ndarray:
        """A picture as uint8 [*size, 3] RGB, without its transparency."""
        frame = _decode(item)
        found = (frame.height, frame.width)
        if self._must_match and found != self.size:
            expected = "x".join(map(str, self.size))
            raise PenstockError(f"{item}: expected {expected} like the first picture, got {found[0]}x{found[1]}")
        if found not in self._scalers:
            self._scalers[found] = Scaler(Placement.of(found, self.size, self._fit))
        return self._scalers[found].pixels(frame)

    def close(self) -> None:
        """Nothing is held open."""


class FolderSink:
    """Writes 000000.png and so on into a new or empty folder. A picture is there as a whole or not at all."""

    def __init__(self, path: Path) -> None:
        load_av()
        self._path = path
        with os_errors_as_penstock(path, "write"):
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise PenstockError(f"{path}: expected a new or empty folder to write pictures to")
            self._is_new = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
        self._count = 0

    def write(self, frame: np.ndarray) -> None:
        """One frame uint8 [H, W, 3]."""
        target = self._path / f"{self._count:06d}.png"
        temporary = target.with_suffix(".part")
        with os_errors_as_penstock(target, "write"):
            temporary.write_bytes(encode_png(frame))
            os.replace(temporary, target)
        self._count += 1

    def close(self) -> None:
        """Every picture is complete already; a folder that was made for none goes."""
        if self._is_new and not self._count:
            with os_errors_as_penstock(self._path, "remove"):
                self._path.rmdir()


def _natural(file: Path) -> tuple[Any, ...]:
    parts = re.split(r"(\d+)", file.name)
    return tuple((int(part), part) if index % 2 else (0, part) for index, part in enumerate(parts))


def _decode(file: Path) -> Any:
    with av_errors_as_penstock(file, "read it as a picture"), load_av().open(str(file)) as container:
        frame = next(container.decode(video=0), None) if container.streams.video else None
    if frame is None:
        raise PenstockError(f"{file}: expected a picture, found none in it")
    return frame
