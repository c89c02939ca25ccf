"""The audio track of another file, carried along with the frames that are written."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

from penstock.runtime.errors import PenstockError

from .pyav import av_errors_as_penstock, load_av

# Codecs that players expect in these containers; anything else is encoded anew as AAC.
_COPIED = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"},
    "matroska": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac", "vorbis", "pcm_s16le", "pcm_s24le"},
}
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


class AudioDamaged(UserWarning):
    """The audio track could not be read to its end."""


class AudioTrack:
    """The first audio track of `source`, written to `container` step by step as the video grows.

    start: seconds of the source's video that were skipped. Packets are copied where the container's format takes the
    codec, else encoded as AAC. Times are kept against the first video frame of the source.
    """

    def __init__(self, source: str | os.PathLike[str], container: Any, start: Fraction) -> None:
        self._path, self._container, self._av = source, container, load_av()
        with ExitStack() as stack:
            with av_errors_as_penstock(source, "read its audio"):
                self._input = stack.enter_context(self._av.open(os.fspath(source)))
            self._stream = next(iter(self._input.streams.audio), None)
            if self._stream is None:
                raise PenstockError(f"{os.fspath(source)}: expected an audio track, found none")
            self._origin = start + _video_start(self._input)
            codec = self._stream.codec_context
            self._copies = codec.codec.canonical_name in _COPIED[container.format.name]
            if self._copies:
                self._output = container.add_stream_from_template(self._stream)
            else:
                rate = codec.sample_rate if codec.sample_rate in _AAC_RATES else 48000
                layout = "mono" if codec.layout.nb_channels == 1 else "stereo"
                self._output = container.add_stream("aac", rate=rate, layout=layout)
            self._parts = self._packets() if self._copies else self._frames()
            self._next: tuple[Fraction, Any] | None = None
            self._close = stack.pop_all().close

    def write_until(self, end: Fraction) -> None:
        """Write what starts before `end`, in seconds of the output."""
        while True:
            if self._next is None:
                self._next = self._take()
            if self._next is None or self._next[0] >= end:
                return
            part = self._next[1]
            self._container.mux(part if self._copies else self._output.encode(part))
            self._next = None

    def finish(self, end: Fraction) -> None:
        """Write the rest up to `end`; nothing more can be written then."""
        self.write_until(end)
        if not self._copies:
            self._container.mux(self._output.encode(None))

    def close(self) -> None:
        """Close the source."""
        self._parts.close()
        self._close()

    def _take(self) -> tuple[Fraction, Any] | None:
        try:
            return next(self._parts, None)
        except self._av.FFmpegError as error:  # the video is worth keeping without the rest of its audio
            message = f"{os.fspath(self._path)}: its audio cannot be read further: {error.strerror}"
            warnings.warn(message, AudioDamaged, stacklevel=2)
            return None

    def _packets(self) -> Iterator[tuple[Fraction, Any]]:
        """When each packet starts, and the packet with its times in the output."""
        last: int | None = None
        for packet in self._input.demux(self._stream):
            if packet.pts is None:  # the flush packet at the end, or one that has no place in time
                continue
            base = packet.time_base
            begin = packet.pts * base - self._origin
            # The packet before the first one that is heard goes along: decoders overlap packets, and drop a first one
            # that only prepares.
            if begin + 2 * (packet.duration or 0) * base <= 0:
                continue
            shift = round(self._origin / base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            if last is not None and packet.dts <= last:  # a clock that jumps back, which no container takes
                continue
            last = packet.dts
            packet.stream = self._output
            yield begin, packet

    def _frames(self) -> Iterator[tuple[Fraction, Any]]:
        """When each decoded frame starts, and the frame, without gaps from the first one on."""
        begin, samples = Fraction(0), None
        for frame in self._input.decode(self._stream):
            if frame.pts is not None:
                begin = frame.pts * frame.time_base - self._origin
            if begin + Fraction(frame.samples, frame.sample_rate) <= 0:
                continue
            if samples is None:
                samples = max(0, round(begin * frame.sample_rate))
            frame.pts, frame.time_base = samples, Fraction(1, frame.sample_rate)
            samples += frame.samples
            yield begin, frame


def _video_start(container: Any) -> Fraction:
    """When the first video frame is shown, in seconds of the file's clock."""
    for stream in container.streams.video:
        if stream.start_time is not None:
            return stream.start_time * stream.time_base
    return Fraction(0)
