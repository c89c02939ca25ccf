"""Reading: parts of a video, geometry, rotation, folders, raw frames."""

from __future__ import annotations

import io
import sys
import warnings
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from penstock.video import VideoWriter, read_video

from .clips import SIZE, clip, encode, one_line, pattern, psnr


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of 45 × 75 in a codec that keeps them and odd sizes exactly."""
    return encode(tmp_path_factory.mktemp("clip") / "clip.mkv", clip(12, (45, 75)), codec="ffv1", pix_fmt="bgr0")


@pytest.mark.parametrize(
    ("start", "limit"), [(0, None), (3, None), (0, 5), (4, 5), (10, 5), (12, None), (20, 1), (2, 0)]
)
def test_parts(lossless: Path, tmp_path: Path, start: int, limit: int | None) -> None:
    frames = clip(12, (45, 75))
    expected = frames[start:] if limit is None else frames[start : start + limit]
    mp4 = encode(tmp_path / "clip.mp4", clip(12))  # whose header tells the number of frames
    for path, wanted in ((lossless, expected), (mp4, None)):
        with read_video(path, start=start, limit=limit) as video:
            count, read = video.info.frame_count, list(video)
        assert len(read) == len(expected) and count in (None, len(expected))
        if wanted is not None:
            assert all(np.array_equal(*pair) for pair in zip(read, wanted, strict=True))


@pytest.mark.parametrize(
    ("source", "size"), [((40, 60), (40, 40)), ((60, 40), (41, 40)), ((40, 61), (40, 40)), ((40, 60), (40, 60))]
)
def test_crop_without_scaling_is_exact(tmp_path: Path, source: tuple[int, int], size: tuple[int, int]) -> None:
    frame = pattern(*source)
    top, left = ((outer - inner) // 2 for outer, inner in zip(source, size, strict=True))
    path = encode(tmp_path / "clip.mkv", [frame], codec="ffv1", pix_fmt="bgr0")
    (read,) = read_video(path, size=size, fit="crop")
    assert np.array_equal(read, frame[top : top + size[0], left : left + size[1]])


@pytest.mark.parametrize(
    ("source", "size"), [((40, 60), (60, 60)), ((60, 40), (60, 75)), ((40, 61), (43, 61)), ((40, 60), (40, 60))]
)
def test_letterbox_without_scaling_is_exact(tmp_path: Path, source: tuple[int, int], size: tuple[int, int]) -> None:
    frame = pattern(*source) | 1  # nowhere black
    top, left = ((outer - inner) // 2 for outer, inner in zip(size, source, strict=True))
    expected = np.zeros((*size, 3), np.uint8)
    expected[top : top + source[0], left : left + source[1]] = frame
    path = encode(tmp_path / "clip.mkv", [frame], codec="ffv1", pix_fmt="bgr0")
    (read,) = read_video(path, size=size, fit="letterbox")
    assert np.array_equal(read, expected)


def test_geometry_with_scaling(tmp_path: Path) -> None:
    """Four flat quarters, 100 × 200, at half size: the cross in the middle stays in the middle."""
    colours = np.array([[[250, 10, 10], [10, 250, 10]], [[10, 10, 250], [250, 250, 250]]], np.uint8)
    path = encode(tmp_path / "clip.mkv", [colours.repeat(50, 0).repeat(100, 1)], codec="ffv1", pix_fmt="bgr0")
    for fit, size, quarter in (
        ("stretch", (60, 60), (30, 30)), ("crop", (50, 50), (25, 25)), ("letterbox", (100, 100), (25, 50)),
    ):  # fmt: skip
        (read,) = read_video(path, size=size, fit=fit)
        y, x = (side // 2 for side in size)
        inside = read[y - quarter[0] : y + quarter[0], x - quarter[1] : x + quarter[1]]
        expected = colours.repeat(quarter[0], 0).repeat(quarter[1], 1)
        away = np.ones(inside.shape[:2], bool)  # from the borders, where the filter mixes
        away[quarter[0] - 2 : quarter[0] + 2], away[:, quarter[1] - 2 : quarter[1] + 2] = False, False
        assert np.abs(inside.astype(int) - expected)[away].max() <= 1, fit
        assert read.sum() == inside.sum()  # and black around it


def test_shrinking_averages(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    path = encode(tmp_path / "clip.mkv", [stripes], codec="ffv1", pix_fmt="bgr0")
    (read,) = read_video(path, size=(16, 16))
    assert np.abs(read[:, 2:-2].astype(int) - 127).max() <= 8


@pytest.mark.parametrize("rotation", [90, 180, 270, -90])
def test_rotation(tmp_path: Path, rotation: int) -> None:
    frames = clip(4)
    path = encode(tmp_path / "clip.mp4", frames, rotation=rotation)
    upright = [np.rot90(frame, rotation // 90) for frame in frames]  # counterclockwise, as the metadata means it
    with read_video(path) as video:
        assert video.info.size == video.info.source_size == upright[0].shape[:2]
        assert psnr(list(video), upright) > 25
    height, width = upright[0].shape[:2]
    (first, *_) = read_video(path, size=(height // 2, width // 2), fit="crop")
    assert first.shape == (height // 2, width // 2, 3)
    assert psnr([first], [upright[0].reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))]) > 25


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", clip(3), pixel_aspect=Fraction(3, 2))
    with read_video(path) as video:
        assert video.info.source_size == (96, 192) and next(video).shape == (96, 192, 3)


def test_variable_rate_comes_out_at_its_average(tmp_path: Path) -> None:
    times = [0, 1, 2, 4, 7, 8, 12, 13, 14, 19]
    path = encode(tmp_path / "clip.mp4", clip(10), fps=20, times=times, options={"bf": "0"})
    with read_video(path) as video:
        assert len(list(video)) == 10
        assert abs(float(video.info.fps) - 10) < 1


def test_frames_before_an_edit_list_do_not_count(tmp_path: Path) -> None:
    """Trimmed without encoding anew, as phones do: the file holds frames that are never shown."""
    frames = clip(12)
    path = encode(tmp_path / "clip.mp4", frames, times=range(-4, 8), options={"bf": "0"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert psnr(list(read_video(path)), frames[4:]) > 25


def test_many_formats(tmp_path: Path) -> None:
    frames = clip(5)
    for name, codec, pix_fmt in (
        ("a.avi", "mpeg4", "yuv420p"), ("a.webm", "libvpx-vp9", "yuv420p"), ("a.ts", "libx264", "yuv420p"),
        ("a.mov", "prores_ks", "yuv422p10le"), ("a.gif", "gif", "rgb8"), ("a.mkv", "libx264", "yuv444p"),
    ):  # fmt: skip
        read = list(read_video(encode(tmp_path / name, frames, codec=codec, pix_fmt=pix_fmt)))
        assert psnr(read, frames) > (15 if codec == "gif" else 25), name


def test_pictures_in_natural_order(tmp_path: Path) -> None:
    frames = [np.full((8, 9, 3), 10 * index, np.uint8) for index in range(12)]
    for index, frame in enumerate(frames):
        encode(tmp_path / f"frame {index}.png", [frame], codec="png", pix_fmt="rgb24")
    (tmp_path / "notes.txt").write_text("no picture")
    with read_video(tmp_path) as video:
        assert (video.info.fps, video.info.frame_count) == (16, 12)
        assert [int(frame[0, 0, 0]) for frame in video] == [10 * index for index in range(12)]
    assert [int(frame[0, 0, 0]) for frame in read_video(tmp_path, start=3, limit=2)] == [30, 40]


def test_pictures_of_many_sizes(tmp_path: Path) -> None:
    encode(tmp_path / "a.png", [pattern(20, 30)], codec="png", pix_fmt="rgb24")
    encode(tmp_path / "b.jpg", [clip(1, (32, 30))[0]], codec="mjpeg", pix_fmt="yuvj444p")
    assert [frame.shape for frame in read_video(tmp_path, size=(16, 16), fit="crop")] == [(16, 16, 3)] * 2
    with pytest.raises(PenstockError, match="expected 20x30 like the first picture, got 32x30") as error:
        list(read_video(tmp_path))
    one_line(error, tmp_path / "b.jpg")


def test_bad_pictures(tmp_path: Path) -> None:
    with pytest.raises(PenstockError, match=r"expected pictures \(.png, .*\) in the folder, found none") as error:
        read_video(tmp_path)
    one_line(error, tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture at all")
    with pytest.raises(PenstockError, match="cannot read it as a picture") as error:
        read_video(tmp_path)
    one_line(error, tmp_path / "a.png")


def test_raw_frames_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.stack(clip(3, (6, 10)))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(frames.tobytes())))
    with read_video("-", size=(6, 10)) as video:
        assert video.info.frame_count is None
        read = list(video)
    assert np.array_equal(np.stack(read), frames) and read[0].flags.writeable
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(frames.tobytes()[:-1])))
    video = read_video("-", size=(6, 10))
    assert len([next(video), next(video)]) == 2
    with pytest.raises(PenstockError, match="-: frame 2: expected 180 bytes, got 179"):
        next(video)
    assert list(video) == []


def test_raw_frames_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "a.rgb").write_bytes(np.full((2, 8, 8, 3), 77, np.uint8).tobytes())
    read = list(read_video(tmp_path / "a.rgb", size=(4, 6), raw_size=(8, 8)))
    assert len(read) == 2 and all((frame == 77).all() and frame.shape == (4, 6, 3) for frame in read)
    with pytest.raises(PenstockError, match="expected a size, which raw frames do not tell, got none"):
        read_video(tmp_path / "a.rgb")
    with pytest.raises(PenstockError, match="expected rgb24 frames of 9x9, 243 bytes each, got 384 bytes") as error:
        read_video(tmp_path / "a.rgb", size=(9, 9))
    one_line(error, tmp_path / "a.rgb")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 5)}, "size: expected a height and width from 1 to 16384, got 0x5"),
        ({"size": 5}, r"size: expected \(height, width\), got 5"),
        ({"raw_size": (5, 1 << 20)}, "raw_size: expected a height and width"),
        ({"fit": "squash"}, "fit: expected one of stretch, crop, letterbox, got 'squash'"),
        ({"start": -1}, "start: expected a number of frames, got -1"),
        ({"limit": 2.5}, "limit: expected a number of frames, got 2.5"),
        ({"fps": 0}, "fps: expected a rate above 0 and up to 1000, got 0"),
        ({"fps": float("nan")}, "fps: expected a positive number, got nan"),
        ({"fps": "fast"}, "fps: expected a positive number, got 'fast'"),
    ],
)
def test_bad_arguments(lossless: Path, arguments: dict, message: str) -> None:
    with pytest.raises(PenstockError, match=message):
        read_video(lossless, **arguments)


def test_pyav_is_an_extra(lossless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for action in (
        lambda: read_video(lossless),
        lambda: VideoWriter(tmp_path / "a.mp4", 16, SIZE),
        lambda: VideoWriter(tmp_path / "pictures", 16, SIZE),
    ):
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(PenstockError, match=r"video files need PyAV, .* pip install 'penstock\[video\]'"):
            action()
        monkeypatch.setitem(sys.modules, "av", SimpleNamespace(__version__="15.1.0"))
        with pytest.raises(PenstockError, match=r"expected PyAV 18 or later, got 15\.1\.0: pip install"):
            action()
    assert list(tmp_path.iterdir()) == []
    raw = tmp_path / "a.rgb"  # raw frames do without
    with VideoWriter(raw, 16, (4, 4)) as writer:
        writer.write(np.zeros((4, 4, 3), np.uint8))
    assert len(list(read_video(raw, size=(4, 4)))) == 1
