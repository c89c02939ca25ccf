"""Writing: what an interruption leaves, what is refused, where files appear."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from penstock.video import EncoderMissing, VideoWriter, h264, read_video

from .clips import SIZE, clip, encode, psnr


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError, PenstockError])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.rgb", "pictures"])
def test_interruption_keeps_a_valid_video(tmp_path: Path, interruption: type[BaseException], name: str) -> None:
    frames = clip(10)
    with pytest.raises(interruption, match="stop"), VideoWriter(tmp_path / name, 16, SIZE) as writer:
        for index, frame in enumerate(frames):
            if index == 7:
                raise interruption("stop")
            writer.write(frame)
    read = list(read_video(tmp_path / name, raw_size=SIZE))
    assert len(read) == 7 and psnr(read, frames[:7]) > 30
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", clip(3))
    with VideoWriter(path, 16, SIZE) as writer:
        writer.write(clip(5))
        assert len(list(read_video(path))) == 3
    assert len(list(read_video(path))) == 5


@pytest.mark.parametrize("name", ["clip.mp4", "clip.rgb", "pictures"])
def test_no_frame(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(PenstockError, match="expected at least one frame to write, got none"),
        VideoWriter(tmp_path / name, 16, SIZE),
    ):
        pass
    assert not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob(".*"))


def test_interruption_before_the_first_frame(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "clip.mp4", 16, SIZE):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frames",
    [np.zeros((96, 127, 3), np.uint8), np.zeros((*SIZE, 3)), np.zeros(SIZE, np.uint8), np.zeros((1, 1, *SIZE, 3), "u1"),
     np.zeros((*SIZE, 4), np.uint8), "frame"],
)  # fmt: skip
def test_bad_frames(tmp_path: Path, frames: object) -> None:
    with (
        pytest.raises(PenstockError, match=r"expected frames uint8 \[96, 128, 3\] or \[n, 96, 128, 3\], got"),
        VideoWriter(tmp_path / "clip.mp4", 16, SIZE) as writer,
    ):
        writer.write(frames)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "clip.txt"}, r"expected .mp4, .m4v, .mov, .mkv, .rgb, .raw, a folder or - to write .* got '.txt'"),
        ({"path": "no/such/folder/clip.mp4"}, "clip.mp4: cannot write: No such file or directory"),
        ({"path": "no/such/folder/clip.rgb"}, "clip.rgb: cannot write: No such file or directory"),
        ({"path": "taken"}, "expected a new or empty folder to write pictures to"),
        ({"fps": 0}, "fps: expected a rate above 0"),
        ({"size": (0, 1)}, "size: expected a height and width"),
        ({"crf": 52}, "crf: expected an integer from 0 to 51, got 52"),
        ({"audio_start": -1}, "audio_start: expected seconds, 0 or more, got -1"),
        ({"path": "clip.rgb", "audio_from": "a.mp4"}, "expected a video file to put audio into"),
        ({"audio_from": "missing.mp4"}, "missing.mp4: cannot read its audio: No such file"),
    ],
)
def test_bad_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    with pytest.raises(PenstockError, match=message) as error:
        VideoWriter(**{"path": "clip.mp4", "fps": 16, "size": SIZE, **arguments})
    assert "\n" not in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_frames_that_are_no_array(tmp_path: Path) -> None:
    with (
        pytest.raises(PenstockError, match="expected frames as an array, got list"),
        VideoWriter(tmp_path / "clip.mp4", 16, SIZE) as writer,
    ):
        writer.write([np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)])


def test_failed_closing_does_not_hide_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise PenstockError("cannot close")

    monkeypatch.setattr(h264.H264Sink, "close", fail)
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "clip.mp4", 16, SIZE):
        raise KeyboardInterrupt
    with pytest.raises(PenstockError, match="cannot close"), VideoWriter(tmp_path / "clip.mp4", 16, SIZE):
        pass


def test_closed(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "clip.mp4", 16, SIZE)
    writer.write(clip(1))
    writer.close()
    writer.close()
    with pytest.raises(PenstockError, match="is closed; no frame can be written"):
        writer.write(clip(1))


def test_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=output))
    frames = np.stack(clip(3, (6, 10)))
    with VideoWriter("-", 16, (6, 10)) as writer:
        writer.write(frames)
    assert output.getvalue() == frames.tobytes()


def test_another_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    can_encode = h264._can_encode
    assert can_encode(av, "libx264") and not can_encode(av, "nonsense")
    monkeypatch.setattr(h264, "_can_encode", lambda av, name: name == "mpeg4")
    frames = clip()
    with pytest.warns(EncoderMissing, match="has no libx264: encoding with mpeg4"):
        writer = VideoWriter(tmp_path / "clip.mp4", 16, SIZE)
    with writer:
        writer.write(frames)
    assert psnr(list(read_video(tmp_path / "clip.mp4")), frames) > 30
    monkeypatch.setattr(h264, "_can_encode", lambda av, name: False)
    with pytest.raises(PenstockError, match=r"expected PyAV to have an H.264 encoder \(libx264\), found none"):
        VideoWriter(tmp_path / "other.mp4", 16, SIZE)
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_full_disk() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    sink = h264.H264Sink  # the container is what fails: let it write to a device that is always full
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(h264, "temporary_beside", lambda path: _FullDevice("/dev/full"))
        writer = sink(Path("clip.mp4"), Fraction(16), SIZE, 18, None, Fraction(0))
        with pytest.raises(PenstockError, match="cannot write: No space left on device"):
            for _ in range(3):
                writer.write(clip(1)[0])
            writer.close()


class _FullDevice(type(Path())):  # type: ignore[misc]
    def unlink(self, missing_ok: bool = False) -> None:
        """A device is not to be removed."""
