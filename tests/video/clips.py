"""Video files made by PyAV directly, in ways that the writer under test does not offer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from penstock.video import generate_clip

SIZE = (96, 128)
SAMPLE_RATE = 44100


def clip(frames: int = 12, size: tuple[int, int] = SIZE, seed: int = 0) -> list[np.ndarray]:
    return list(generate_clip(frames, size, seed))


def psnr(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Decibels over all frames, which must be equally many and of one size."""
    difference = np.stack(actual).astype(np.float64) - np.stack(expected)
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))


def encode(
    path: Path,
    frames: Sequence[np.ndarray],
    fps: Fraction | int = 16,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio: str | None = None,
    audio_seconds: float = 0.0,
) -> Path:
    """Frames at k/fps seconds, or times[k]/fps; a 440 Hz tone of `audio_seconds` in the codec `audio`."""
    rate = Fraction(fps)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = pix_fmt, 1 / rate
        if pixel_aspect:
            stream.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        tone = container.add_stream(audio, rate=SAMPLE_RATE, layout="mono") if audio else None
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format=pix_fmt)
            picture.pts, picture.time_base = (times[index] if times else index), 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if tone:
            encode_tone(container, tone, sine(audio_seconds))
    return path


def sine(seconds: float) -> np.ndarray:
    """440 Hz in the range of int16."""
    return np.sin(2 * np.pi * 440 * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE) * 20000


def encode_tone(
    container: av.container.OutputContainer, stream: av.AudioStream, wave: np.ndarray, first: int = 0
) -> None:
    """Samples in the range of int16, the first one at first/SAMPLE_RATE seconds."""
    for begin in range(0, len(wave), 1152):
        frame = av.AudioFrame.from_ndarray(wave[None, begin : begin + 1152].astype(np.int16), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, first + begin, Fraction(1, SAMPLE_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def tone_of(path: Path) -> tuple[str, np.ndarray, float]:
    """The audio track of a file: codec, its samples as float32 -1 … 1 mono, and when the first one plays."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
        frames, begin = [], None
        for frame in container.decode(stream):
            begin = float(frame.pts * frame.time_base) if begin is None else begin
            frames += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        return stream.codec_context.codec.canonical_name, np.concatenate(frames), begin or 0.0


def pattern(height: int, width: int) -> np.ndarray:
    """A picture whose every pixel tells its place: red the row, green the column, blue their sum, all mod 256."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows + columns], axis=-1).astype(np.uint8)


def one_line(error: pytest.ExceptionInfo[PenstockError], path: Path) -> str:
    """The message of an error, which must be one line that begins with the file."""
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    return str(error.value)
