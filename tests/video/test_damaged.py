"""Files that are no videos, or no longer whole."""

from __future__ import annotations

import warnings
from pathlib import Path

import av
import pytest

from penstock.runtime.errors import PenstockError
from penstock.video import VideoDamaged, read_video

from .clips import clip, encode, encode_tone, one_line, psnr, sine


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    with av.open(str(tmp_path / "audio.mp4"), "w") as container:
        encode_tone(container, container.add_stream("aac", rate=44100, layout="mono"), sine(0.5))
    for name, message in (
        ("missing.mp4", "expected a video, found nothing there"),
        ("empty.mp4", "expected a video, got an empty file"),
        ("text.mp4", "cannot read it as a video: Invalid data found when processing input"),
        ("audio.mp4", "expected a video stream, found none"),
    ):
        with pytest.raises(PenstockError, match=message) as error:
            read_video(tmp_path / name)
        one_line(error, tmp_path / name)


def test_truncated_mp4_without_index(tmp_path: Path) -> None:
    data = encode(tmp_path / "clip.mp4", clip(30)).read_bytes()
    (tmp_path / "clip.mp4").write_bytes(data[: len(data) // 2])  # the index is at the end
    with pytest.raises(PenstockError, match="cannot read it as a video: Invalid data") as error:
        read_video(tmp_path / "clip.mp4")
    one_line(error, tmp_path / "clip.mp4")


def test_truncated_mp4_with_index(tmp_path: Path) -> None:
    frames = clip(30)
    path = encode(tmp_path / "clip.mp4", frames, container_options={"movflags": "+faststart"}, options={"bf": "0"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.warns(VideoDamaged, match=r"ended after \d+ of 30 frames, \d+ packets could not be decoded"):
        read = list(read_video(path))
    assert 5 < len(read) < 30 and psnr(read[:5], frames[:5]) > 25


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", clip(40), options={"bf": "0", "g": "5"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 2000
    data[start : start + 600] = b"\xff" * 600
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VideoDamaged)
        read = list(read_video(path))
    assert 20 < len(read) <= 40


def test_no_frame_that_can_be_decoded(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", clip(2), container_options={"movflags": "+faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 8])
    with pytest.raises(PenstockError, match="found no frame in it that can be decoded") as error:
        read_video(path)
    one_line(error, path)


def test_whole_file_gives_no_warning(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", clip(10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(read_video(path))) == 10
        assert len(list(read_video(path, limit=4))) == 4
        with read_video(path) as video:
            next(video)
        assert list(video) == []  # closed
