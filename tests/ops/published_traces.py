"""Golden traces of the published ring (spec 9.1): cache frames written and queue entries, call by call."""

from __future__ import annotations

from dataclasses import dataclass

Writes = list[tuple[int, ...]]
Queues = list[list[int]]  # of slot 0


@dataclass(frozen=True)
class Trace:
    """slots: of the stream batch, or cache slots. passes: of a chunk over one cache slot. writes: by call (or chunk),

    first frames by slot (or pass); queue of slot 0 after every call (or chunk), lengths likewise; empty: not given.
    """

    writes: Writes
    slots: int = 1
    passes: int = 1
    queues: tuple[tuple[int, ...], ...] = ()
    lengths: tuple[tuple[int, ...], ...] = ()
    frames: int = 1
    first_frames: int = 2
    capacity: int = 6
    sinks: int = 3
    threshold: float = -1.0


def writes(text: str) -> Writes:
    """ "2 2 · 3 2" -> [(2, 2), (3, 2)]."""
    return [tuple(int(frame) for frame in call.split()) for call in text.split("·")]


def queues(*entries: int) -> tuple[tuple[int, ...], ...]:
    """(3, 4), ... from 34, ...: one digit for an entry."""
    return tuple(tuple(int(digit) for digit in str(entry)) for entry in entries)


T6_QUEUES = queues(4, 45, 456, 456, 564, 645, 456, 564)
TEXT_TO_VIDEO = [3, 6, 9, 12, 15, 18, 3, 6, 9, 12, 15, 18, 3]  # slot 0
FILLED = (6, 9, 12, 15, 18, 21)

TRACES = {
    "T1": Trace(
        writes("2 2 · 3 2 · 4 3 · 5 4 · 3 5 · 4 3 · 5 4 · 3 5"), slots=2,
        queues=queues(4, 45, 456, 456, 564, 645, 456, 564),
        lengths=queues(33, 43, 54, 65, 66, 66, 66, 66),
    ),
    "T2": Trace(
        writes("2 2 · 3 2 · 4 3 · 5 4 · 2 5 · 3 2 · 4 3 · 5 4 · 3 5 · 4 3"), slots=2, threshold=0.2,
        queues=queues(34, 345, 3456, 3456, 456, 564, 645, 456, 564, 645),
    ),
    "T3": Trace(
        writes("2 2 2 2 · 3 2 2 2 · 4 3 2 2 · 5 4 3 2 · 2 5 4 3 · 3 2 5 4 · 4 3 2 5 · 5 4 3 2 · 3 5 4 3 · 4 3 5 4"),
        slots=4, threshold=0.2,
        lengths=queues(3333, 4333, 5433, 6543, 6654, 6665, 6666, 6666, 6666, 6666),
    ),
    "T4": Trace(writes("2 · 3 · 4 · 5 · 2 · 3 · 4 · 5 · 3 · 4 · 5"), threshold=0.2),
    "T4, fixed sinks": Trace(writes("2 · 3 · 4 · 5 · 3 · 4 · 5 · 3")),
    "T5": Trace(
        writes("2 2 · 3 2 · 4 3 · 3 4 · 4 3 · 3 4 · 4 3"), slots=2, capacity=5, sinks=2,
        queues=queues(4, 45, 45, 54, 45, 54, 45), lengths=queues(33, 43, 54, 55, 55, 55, 55),
    ),
    "T6, 2 passes": Trace(writes("2 2 · 3 3 · 4 4 · 5 3 · 3 4 · 4 5 · 5 3 · 3 4"), passes=2, queues=T6_QUEUES),
    "T6, 3 passes": Trace(
        writes("2 2 2 · 3 3 3 · 4 4 4 · 5 3 3 · 3 4 4 · 4 5 5 · 5 3 3 · 3 4 4"), passes=3, queues=T6_QUEUES
    ),
    "T6, 4 passes": Trace(
        writes("2 2 2 2 · 3 3 3 3 · 4 4 4 4 · 5 3 3 3 · 3 4 4 4 · 4 5 5 5 · 5 3 3 3 · 3 4 4 4"), passes=4,
        queues=T6_QUEUES,
    ),
    "T7": Trace(
        writes("2 2 · 3 3 · 4 4 · 5 2 · 2 3 · 3 4 · 4 5 · 5 3 · 3 4"), passes=2, threshold=0.2,
        queues=queues(34, 345, 3456, 3456, 456, 564, 645, 456, 564),
    ),
    "T8": Trace(
        list(zip(TEXT_TO_VIDEO, [3, *TEXT_TO_VIDEO], [3, 3, *TEXT_TO_VIDEO], strict=False)),
        slots=3, frames=3, first_frames=3, capacity=21, sinks=0,
        queues=(*(FILLED[: count + 2] for count in range(5)), FILLED, *((*FILLED[k:], *FILLED[:k]) for k in (1, 2, 3))),
        lengths=((6, 6, 6), (9, 6, 6), (12, 9, 6), (15, 12, 9), (18, 15, 12), (21, 18, 15), (21, 21, 18), (21, 21, 21)),
    ),
}  # fmt: skip
