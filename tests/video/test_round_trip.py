"""What is written can be read back: frames, rate, count, size, colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from penstock.video import VideoWriter, read_video

from .clips import SIZE, clip, psnr


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".m4v"])
def test_h264(tmp_path: Path, suffix: str) -> None:
    frames, path = clip(21), tmp_path / f"clip{suffix}"
    with VideoWriter(path, 16, SIZE) as writer:
        writer.write(frames[0])
        writer.write(np.stack(frames[1:5]))
        for begin in range(5, 21, 4):
            writer.write(frames[begin : begin + 4])
    assert writer.frames_written == 21
    with read_video(path) as video:
        assert video.info.size == video.info.source_size == SIZE
        assert video.info.fps == 16 and not video.info.has_audio
        assert video.info.frame_count == (None if suffix == ".mkv" else 21)
        read = list(video)
    assert len(read) == 21 and all(frame.dtype == np.uint8 and frame.flags.c_contiguous for frame in read)
    assert psnr(read, frames) > 30
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.codec.canonical_name, stream.pix_fmt) == ("h264", "yuv420p")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fps", [Fraction(355, 12), Fraction(30000, 1001), Fraction(60), Fraction(1, 2), 23.976, 12])
def test_frame_rate_is_exact(tmp_path: Path, fps: Fraction | float) -> None:
    with VideoWriter(tmp_path / "clip.mp4", fps, SIZE) as writer:
        writer.write(clip(10))
    expected = Fraction("23.976") if isinstance(fps, float) else Fraction(fps)
    with read_video(tmp_path / "clip.mp4") as video:
        assert video.info.fps == expected and isinstance(video.info.fps, Fraction)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert all(abs(time - k / expected) < Fraction(1, 10000) for k, time in enumerate(times))


def test_colours(tmp_path: Path) -> None:
    """Flat fields: what is left is the rounding of 4:2:0 video. A wrong matrix or range is off by tens."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40), (90, 90, 90)]
    frames = [np.full((*SIZE, 3), colour, np.uint8) for colour in colours]
    with VideoWriter(tmp_path / "clip.mp4", 1, SIZE, crf=1) as writer:
        writer.write(frames)
    for frame, colour in zip(read_video(tmp_path / "clip.mp4"), colours, strict=True):
        assert np.abs(frame.astype(int) - colour).max() <= 3, colour
    with av.open(str(tmp_path / "clip.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


@pytest.mark.parametrize("size", [(33, 47), (32, 47), (33, 48), (1, 1)])
def test_odd_sizes_grow_by_a_repeated_row_or_column(tmp_path: Path, size: tuple[int, int]) -> None:
    height, width = size
    # Without colour: halving its resolution would cost a picture this small more than the codec does.
    frames = [frame[..., :1].repeat(3, axis=-1) for frame in clip(5, size)]
    with VideoWriter(tmp_path / "clip.mp4", 16, size, crf=1) as writer:
        writer.write(frames)
    read = list(read_video(tmp_path / "clip.mp4"))
    assert read[0].shape == (height + height % 2, width + width % 2, 3)
    grown = [np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") for frame in frames]
    assert psnr(read, grown) > 30


def test_quality(tmp_path: Path) -> None:
    sizes = []
    for crf in (10, 40):
        with VideoWriter(tmp_path / f"{crf}.mp4", 16, SIZE, crf=crf) as writer:
            writer.write(clip())
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


@pytest.mark.parametrize("name", ["frames", "clip.rgb", "clip.raw"])
def test_lossless(tmp_path: Path, name: str) -> None:
    frames = clip(12, (33, 47))
    with VideoWriter(tmp_path / name, 16, (33, 47)) as writer:
        writer.write(torch.from_numpy(np.stack(frames)))
    with read_video(tmp_path / name, fps=12, raw_size=(33, 47)) as video:
        assert (video.info.size, video.info.fps, video.info.frame_count) == ((33, 47), 12, 12)
        assert np.array_equal(np.stack(list(video)), np.stack(frames))
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert not list(tmp_path.glob("**/*.part"))
