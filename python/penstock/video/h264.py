"""H.264 in an mp4, mov or mkv file, with the audio of another file."""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from penstock.runtime.errors import PenstockError, os_errors_as_penstock

from .audio import AudioTrack
from .geometry import Size
from .pyav import av_errors_as_penstock, load_av
from .raw import temporary_beside
from .scale import accurate_bilinear

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_BT709 = 1  # the number of this colour space, its primaries and its transfer function in H.264
_LIMITED_RANGE = 1


class EncoderMissing(UserWarning):
    """This PyAV has no libx264; another encoder is used."""


class H264Sink:
    """Encodes frames as yuv420p (BT.709, limited range), crf as libx264 takes it.

    Both sides of such a video are even: an odd one grows by a repeated row or column. The file gets its name on
    `close`, with all frames written until then, whatever interrupted the writing.
    """

    def __init__(
        self,
        path: Path,
        fps: Fraction,
        size: Size,
        crf: int,
        audio_from: str | os.PathLike[str] | None,
        audio_start: Fraction,
    ) -> None:
        self._av, self._path, self._fps = load_av(), path, fps
        self._padding = [(0, size[0] % 2), (0, size[1] % 2), (0, 0)]
        self._temporary = temporary_beside(path)
        self._count = 0
        self._audio: AudioTrack | None = None
        kind = FORMATS[path.suffix.lower()]
        # The index goes to the front, so that a player can start before it has the whole file.
        options = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
        with ExitStack() as undo:
            with av_errors_as_penstock(path, "write"):
                self._temporary.touch()  # FFmpeg opens the file at the first frame only, late for a bad path
                undo.callback(self._temporary.unlink, missing_ok=True)
                self._container = self._av.open(str(self._temporary), "w", format=kind, options=options)
            undo.callback(self._container.close)
            self._stream = _add_video(self._av, self._container, fps, size, crf)
            if audio_from is not None:
                self._audio = AudioTrack(audio_from, self._container, audio_start)
            undo.pop_all()
        self._reformatter = self._av.video.reformatter.VideoReformatter()

    def write(self, frame: np.ndarray) -> None:
        """One frame uint8 [H, W, 3]."""
        if any(after for _, after in self._padding):
            frame = np.pad(frame, self._padding, mode="edge")
        picture = self._av.VideoFrame.from_ndarray(frame, "rgb24")
        colours = self._av.video.reformatter
        picture = self._reformatter.reformat(
            picture, format="yuv420p", interpolation=accurate_bilinear(),
            dst_colorspace=colours.Colorspace.ITU709, dst_color_range=colours.ColorRange.MPEG,
        )  # fmt: skip
        picture.pts, picture.time_base = self._count, 1 / self._fps
        self._count += 1
        with av_errors_as_penstock(self._path, "write"):
            self._container.mux(self._stream.encode(picture))
            if self._audio:
                self._audio.write_until(self._count / self._fps)

    def close(self) -> None:
        """Write what the encoder still holds, and give the file its name; no file where there was no frame."""
        try:
            try:
                if self._count:
                    self._flush()
            finally:
                if self._audio:
                    self._audio.close()
                with av_errors_as_penstock(self._path, "write"):
                    self._container.close()
            if self._count:
                with os_errors_as_penstock(self._path, "write"):
                    os.replace(self._temporary, self._path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        with av_errors_as_penstock(self._path, "write"):
            self._container.mux(self._stream.encode(None))
            if self._audio:
                self._audio.finish(self._count / self._fps)


def _add_video(av: Any, container: Any, fps: Fraction, size: Size, crf: int) -> Any:
    name, options = _encoder(av, crf)
    stream = container.add_stream(name, rate=fps, options=options)
    stream.height, stream.width = (side + side % 2 for side in size)
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = 1 / fps
    stream.colorspace = stream.color_primaries = stream.color_trc = _BT709
    stream.color_range = _LIMITED_RANGE
    if name != "libx264":
        stream.bit_rate = max(1_000_000, int(0.15 * size[0] * size[1] * fps))
    return stream


def _encoder(av: Any, crf: int) -> tuple[str, dict[str, str]]:
    if _can_encode(av, "libx264"):
        # The slower presets gain a few percent of size for several times the work, which a live stream has not.
        return "libx264", {"crf": str(crf), "preset": "veryfast"}
    for name in ("libopenh264", "h264_videotoolbox", "mpeg4"):
        if _can_encode(av, name):
            message = f"this PyAV has no libx264: encoding with {name} at a fixed bit rate, crf has no effect"
            warnings.warn(message, EncoderMissing, stacklevel=2)
            return name, {}
    raise PenstockError("video: expected PyAV to have an H.264 encoder (libx264), found none")


def _can_encode(av: Any, name: str) -> bool:
    try:
        return av.codec.Codec(name, "w") is not None
    except av.codec.codec.UnknownCodecError:
        return False
