"""The audio track that goes along: copied or encoded anew, cut to the video, in step with it."""

from __future__ import annotations

import warnings
from pathlib import Path

import av
import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from penstock.video import AudioDamaged, VideoWriter, read_video

from .clips import SAMPLE_RATE, SIZE, clip, encode, encode_tone, tone_of

FRAME = 4608 / SAMPLE_RATE  # seconds of the longest audio packet, that of FLAC; others have a quarter of it


def source_with(tmp_path: Path, codec: str, seconds: float, suffix: str = ".mkv") -> Path:
    return encode(tmp_path / f"source{suffix}", clip(16), audio=codec, audio_seconds=seconds)


def write_with(source: Path, target: Path, frames: int, **arguments: object) -> tuple[str, np.ndarray, float]:
    """A video of `frames` frames at 16 a second with the audio of `source`; that audio."""
    with VideoWriter(target, 16, SIZE, audio_from=source, **arguments) as writer:
        for frame in clip(frames):
            writer.write(frame)
    assert len(list(read_video(target))) == frames
    return tone_of(target)


def check_tone(samples: np.ndarray, seconds: float) -> None:
    print(len(samples) / SAMPLE_RATE - seconds)
    assert -0.002 < len(samples) / SAMPLE_RATE - seconds < FRAME
    middle = samples[2000:-2000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(np.argmax(spectrum) * SAMPLE_RATE / len(middle) - 440) < 5
    assert 0.3 < np.abs(middle).max() < 0.9


@pytest.mark.parametrize(
    ("codec", "target", "expected"),
    [
        ("libmp3lame", ".mp4", "mp3"), ("aac", ".mp4", "aac"), ("aac", ".mkv", "aac"), ("flac", ".mkv", "flac"),
        ("pcm_s16le", ".mp4", "aac"), ("pcm_s16le", ".mov", "pcm_s16le"), ("flac", ".mov", "aac"),
        ("mp2", ".mp4", "aac"),
    ],
)  # fmt: skip
def test_cut_to_the_video(tmp_path: Path, codec: str, target: str, expected: str) -> None:
    source = source_with(tmp_path, codec, 3.0)
    found, samples, begin = write_with(source, tmp_path / f"out{target}", 32)  # 2 s
    assert found == expected and abs(begin) < FRAME
    check_tone(samples, 2.0)
    with read_video(tmp_path / f"out{target}") as video:
        assert video.info.has_audio


def test_copied_bit_for_bit(tmp_path: Path) -> None:
    source = source_with(tmp_path, "libmp3lame", 1.5)
    write_with(source, tmp_path / "out.mp4", 16)
    with av.open(str(source)) as one, av.open(str(tmp_path / "out.mp4")) as other:
        packets = [[bytes(packet) for packet in file.demux(audio=0) if packet.size] for file in (one, other)]
    assert len(packets[1]) > 30 and packets[1] == packets[0][: len(packets[1])]


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_shorter_than_the_video(tmp_path: Path, codec: str) -> None:
    _, samples, _ = write_with(source_with(tmp_path, codec, 1.0), tmp_path / "out.mp4", 32)
    check_tone(samples, 1.0)


STEPS = [
    ("libmp3lame", ".mp4", ".mp4", 0.0), ("libmp3lame", ".mkv", ".mkv", 0.0), ("pcm_s16le", ".mkv", ".mp4", 0.0),
    ("mp2", ".ts", ".mp4", 0.0), ("aac", ".ts", ".mp4", 0.0),
    ("libmp3lame", ".mkv", ".mp4", 0.75), ("mp2", ".mkv", ".mp4", 0.75),
]  # fmt: skip


@pytest.mark.parametrize(("codec", "suffix", "target", "late"), STEPS)
def test_in_step_after_a_skip(tmp_path: Path, codec: str, suffix: str, target: str, late: float) -> None:
    """A click at 1.0 s of a source whose first half second is skipped plays at 0.5 s.

    The audio of the source may start late, and the clock of a .ts file does not start at zero.
    """
    source = tmp_path / f"source{suffix}"
    first = int(late * SAMPLE_RATE)
    wave = np.zeros(2 * SAMPLE_RATE)
    wave[SAMPLE_RATE : SAMPLE_RATE + 400] = 20000
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=16)
        video.height, video.width = SIZE
        tone = container.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        for frame in clip(32):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p")))
        container.mux(video.encode(None))
        encode_tone(container, tone, wave[first:], first)
    _, original, original_begin = tone_of(source)
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        original_begin -= float((stream.start_time or 0) * stream.time_base)
    expected = original_begin + np.argmax(np.abs(original) > 0.2) / SAMPLE_RATE - 0.5
    assert abs(expected - 0.5) < 0.1
    _, samples, begin = write_with(source, tmp_path / f"out{target}", 16, audio_start=0.5)
    assert abs(begin + np.argmax(np.abs(samples) > 0.2) / SAMPLE_RATE - expected) < FRAME / 2


def test_interruption_keeps_the_audio(tmp_path: Path) -> None:
    source = source_with(tmp_path, "pcm_s16le", 3.0)
    with (
        pytest.raises(KeyboardInterrupt),
        VideoWriter(tmp_path / "out.mp4", 16, SIZE, audio_from=source) as writer,
    ):
        writer.write(clip(16))
        raise KeyboardInterrupt
    check_tone(tone_of(tmp_path / "out.mp4")[1], 1.0)


def test_no_audio_track(tmp_path: Path) -> None:
    source = encode(tmp_path / "source.mp4", clip(2))
    with pytest.raises(PenstockError, match=r"source\.mp4: expected an audio track, found none"):
        VideoWriter(tmp_path / "out.mp4", 16, SIZE, audio_from=source)
    assert [file.name for file in tmp_path.iterdir()] == ["source.mp4"]


def test_clock_that_jumps_back(tmp_path: Path) -> None:
    """Two recordings joined byte by byte: the times start again in the middle."""
    source = source_with(tmp_path, "aac", 1.0, ".ts")
    source.write_bytes(source.read_bytes() * 2)
    found, samples, _ = write_with(source, tmp_path / "out.mp4", 32)
    assert found == "aac"
    check_tone(samples, 1.0)


def test_damaged_audio_does_not_cost_the_video(tmp_path: Path) -> None:
    source = source_with(tmp_path, "flac", 3.0, ".mp4")
    data = bytearray(source.read_bytes())
    begin = data.index(b"mdat") + 4
    for offset in range(begin + (len(data) - begin) // 2, len(data) - 4000, 7):
        data[offset] ^= 0x5A
    source.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioDamaged)
        with VideoWriter(tmp_path / "out.mov", 16, SIZE, audio_from=source) as writer:  # decoded, for a .mov
            writer.write(clip(32))
    assert len(list(read_video(tmp_path / "out.mov"))) == 32
