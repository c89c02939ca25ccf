"""Sizes, contact sheets, the synthetic clip."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from penstock.video import contact_sheet, fit_size, generate_clip, read_video

from .clips import pattern


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 832), (480, 832)), ((1500, 1050), (1504, 1056)), ((1, 7), (16, 16)), ((24, 23), (32, 16))],
)
def test_fit_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fit_size(*size) == expected


def test_contact_sheet(tmp_path: Path) -> None:
    frames = [pattern(20, 30) + np.uint8(40 * index) for index in range(5)]
    contact_sheet([frames[:3], frames[3:]], tmp_path / "sheet.png")
    (sheet,) = read_video(tmp_path / "sheet.png")
    assert sheet.shape == (4 + 2 * 24, 4 + 3 * 34, 3)
    for index, (top, left) in enumerate([(4, 4), (4, 38), (4, 72), (28, 4), (28, 38)]):
        assert np.array_equal(sheet[top : top + 20, left : left + 30], frames[index])
    assert (sheet[:4] == 32).all() and (sheet[28:48, 72:] == 32).all()


def test_bad_contact_sheet(tmp_path: Path) -> None:
    with pytest.raises(PenstockError, match="expected frames for a contact sheet, got none"):
        contact_sheet([[]], tmp_path / "sheet.png")
    with pytest.raises(PenstockError, match=r"expected frames uint8 \[20, 30, 3\], got uint8 \[20, 31, 3\]"):
        contact_sheet([[pattern(20, 30), pattern(20, 31)]], tmp_path / "sheet.png")
    with pytest.raises(PenstockError, match=r"sheet\.png: cannot write: No such file"):
        contact_sheet([[pattern(20, 30)]], tmp_path / "no" / "sheet.png")


def test_synthetic_clip() -> None:
    frames = list(generate_clip(9, (64, 96), seed=3))
    assert len(frames) == 9 and all(frame.shape == (64, 96, 3) and frame.dtype == np.uint8 for frame in frames)
    assert all(np.array_equal(*pair) for pair in zip(frames, generate_clip(9, (64, 96), seed=3), strict=True))
    assert not np.array_equal(frames[0], next(generate_clip(1, (64, 96), seed=4)))
    changes = [np.abs(one.astype(int) - other).mean() for one, other in pairwise(frames)]
    assert min(changes) > 2  # it moves in every frame
    assert next(generate_clip(1, (1, 1))).shape == (1, 1, 3)


def test_synthetic_clip_is_the_same_everywhere() -> None:
    data = b"".join(frame.tobytes() for frame in generate_clip(5, (48, 80)))
    assert hashlib.sha256(data).hexdigest() == "0f9c28eb4e39f57898e8903af023f61d70731c0cbda5dfefa2dcfaf172fc7cf1"
