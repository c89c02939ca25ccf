"""Contact sheets: rows of frames in one picture, such as input over output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from penstock.runtime.errors import PenstockError, os_errors_as_penstock

from .scale import encode_png

GAP = 4  # pixels between frames and around them
BACKGROUND = 32


def contact_sheet(rows_of_frames: Sequence[Sequence[np.ndarray]], path: str | os.PathLike[str]) -> None:
    """Write a PNG of frames uint8 [H, W, 3], all of one size, row under row; rows may have different lengths."""
    rows = [list(row) for row in rows_of_frames]
    frames = [frame for row in rows for frame in row]
    if not frames:
        raise PenstockError(f"{os.fspath(path)}: expected frames for a contact sheet, got none")
    height, width = frames[0].shape[:2]
    for frame in frames:
        if frame.dtype != np.uint8 or frame.shape != (height, width, 3):
            found = f"{frame.dtype} {list(frame.shape)}"
            raise PenstockError(f"{os.fspath(path)}: expected frames uint8 [{height}, {width}, 3], got {found}")
    down, right = height + GAP, width + GAP
    sheet = np.full((GAP + down * len(rows), GAP + right * max(map(len, rows)), 3), BACKGROUND, np.uint8)
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            top, left = GAP + y * down, GAP + x * right
            sheet[top : top + height, left : left + width] = frame
    with os_errors_as_penstock(path, "write"):
        Path(path).write_bytes(encode_png(sheet))
