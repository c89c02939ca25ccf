"""The main job: a video through a session into another video, with timing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from penstock.session import Session

_LATENCY_FRAMES = 10_000  # of which the latency is kept: an input may never end


class FrameSink(Protocol):
    """What takes finished frames, uint8 [n, height, width, 3]; `penstock.VideoWriter` does."""

    def write(self, frames: np.ndarray) -> None: ...


@dataclass
class RunReport:
    """What a run did, so far or in all.

    seconds: wall time since the first frame was asked for, reading and writing included. latency: seconds from handing
    in each frame to getting the frame in its place, for the last 10,000 frames; none in text-to-video.
    """

    frames_in: int = 0
    frames_out: int = 0
    seconds: float = 0.0
    first_frame_seconds: float | None = None
    latency: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCY_FRAMES))
    phases: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def fps(self) -> float:
        """Finished frames a second."""
        return self.frames_out / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        latency = {}
        if self.latency:
            mean, p95 = np.mean(self.latency), np.percentile(self.latency, 95)
            latency = {"latency_ms": {"mean": round(1e3 * float(mean), 3), "p95": round(1e3 * float(p95), 3)}}
        return {
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 3),
            "first_frame_seconds": self.first_frame_seconds and round(self.first_frame_seconds, 3),
            **latency,
            "phases": self.phases,
        }


Progress = Callable[[RunReport], None]


def no_progress(_: RunReport) -> None:
    """For those who look at the report at the end only."""


def run_video(
    session: Session, source: Iterable[np.ndarray], sink: FrameSink, progress: Progress = no_progress
) -> RunReport:
    """Every frame of `source` through the session into `sink`; as many come out. `progress` is called as they do.

    An exception, Ctrl-C included, leaves in `sink` what was finished before.
    """
    return _run(session, _push_all(session, source), sink, progress)


def generate_video(session: Session, frames: int, sink: FrameSink, progress: Progress = no_progress) -> RunReport:
    """Text-to-video: makes blocks until there are `frames` frames; the last block is cut to that."""
    return _run(session, _generate(session, frames), sink, progress)


def _push_all(session: Session, source: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    for frame in source:
        yield 1, session.push(frame)
    yield 0, session.flush()


def _generate(session: Session, frames: int) -> Iterator[tuple[int, np.ndarray]]:
    made = 0
    while made < frames:
        finished = session.generate()[: frames - made]
        made += len(finished)
        yield 0, finished


def _run(session: Session, steps: Iterator[tuple[int, np.ndarray]], sink: FrameSink, progress: Progress) -> RunReport:
    report = RunReport()
    waiting: deque[float] = deque()  # when each frame that is not out yet was handed in
    start = asked = time.perf_counter()
    for pushed, finished in steps:
        now = time.perf_counter()
        waiting.extend([asked] * pushed)
        report.frames_in += pushed
        if len(finished):
            sink.write(finished)
            report.frames_out += len(finished)
            report.latency.extend(now - waiting.popleft() for _ in range(min(len(finished), len(waiting))))
            report.first_frame_seconds = report.first_frame_seconds or now - start
            report.phases = _phases(session)
        report.seconds = time.perf_counter() - start
        progress(report)
        asked = time.perf_counter()
    return report


def _phases(session: Session) -> dict[str, dict[str, float]]:
    """Runs, mean and last milliseconds of the phases that ran."""
    return {
        name: {"runs": phase["runs"], "mean_ms": round(phase["total_ms"] / phase["runs"], 3),
               "last_ms": round(phase["last_ms"], 3)}
        for name, phase in session.phase_stats().items() if phase["runs"]
    }  # fmt: skip
