"""Under the schedule throughput no two pieces of work that conflict can run unordered.

Proved from the driver's calls alone: what happens before what follows from the order of each stream, from events that
were recorded and waited for, and from the host's own waits (vector clocks). What a phase touches is read off the
addresses that its kernels are given, and whether it writes there off the plan.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock.runtime.engine import query_system

pytestmark = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")

SIZE = {"height": 64, "width": 96}
CASES = {
    "batch": {**SIZE, "steps": 2},
    "sequential": {**SIZE, "steps": 2, "mode": "sequential", "noise_controller": False, "decoder": "taehv"},
    "published": {**SIZE, "steps": 2, "cache_policy": "streamdiffusionv2"},
}

Clock = dict[int, int]  # stream -> how many of its pieces of work are known to be done


@dataclass
class Work:
    """A launch or a copy: where in its stream, what it is behind, and its cells -> "r" or "w"."""

    what: str
    stream: int
    number: int
    behind: Clock
    touches: dict[str, str] = field(default_factory=dict)

    def is_before(self, other: Work) -> bool:
        return other.behind.get(self.stream, 0) >= self.number


def joined(*clocks: Clock) -> Clock:
    return {stream: max(clock.get(stream, 0) for clock in clocks) for stream in set().union(*clocks)}


class Trace:
    """The work of a log, with its clocks and cells. A cell is a tensor in its home, a copy of one, or other memory."""

    def __init__(self, seen: dict[str, Any]):
        self.cells = {name: tuple(place) for name, place in seen["tensors"].items()}
        for _, _, to, source, size in (entry for entry in seen["log"] if entry[0] == "copy"):
            self.cells[f"copy of {self.cell(source)} at {to}"] = (to, size)
        self.weights = [(begin, begin + size) for begin, size in seen["weights"]]
        self.graphs = {graph: addresses for _, graph, addresses in seen["graphs"]}
        names = list(seen["access"])
        self.phase = dict(zip(self.graphs, names, strict=True))  # prepared in the order of the plan
        self.access = seen["access"]
        self.work = list(self.replayed(seen["log"]))

    def cell(self, address: int) -> str:
        for name, (begin, size) in self.cells.items():
            if begin <= address < begin + size:
                return name
        is_weight = any(begin <= address < end for begin, end in self.weights)
        return "weights" if is_weight else f"memory at {address}"  # scratch, workspace

    def cells_in(self, begin: int, size: int) -> list[str]:
        """Of an upload: memory is cleared before there are tensors in it."""
        inside = [name for name, (at, bytes_) in self.cells.items() if at < begin + size and begin < at + bytes_]
        return inside or [self.cell(begin)]

    def replayed(self, log: list[list[Any]]) -> Iterator[Work]:
        counts: dict[int, int] = defaultdict(int)
        known: dict[int, Clock] = defaultdict(dict)  # what a stream's next work is behind
        events: dict[int, Clock] = {}
        host: Clock = {}
        for call, first, *rest in log:
            if call == "graph":
                continue
            now = joined(known[first], {first: counts[first]})
            if call == "record":
                events[rest[0]] = now
            elif call == "wait":
                known[first] = joined(known[first], events.get(rest[0], {}))
            elif call == "synchronize stream":
                host = joined(host, now)
            elif call == "synchronize event":
                host = joined(host, events.get(first, {}))
            elif call in ("launch", "copy", "upload", "download"):
                known[first] = joined(now, host)
                counts[first] += 1
                yield Work(self.name(call, rest), first, counts[first], known[first], self.touched(call, rest))

    def name(self, call: str, rest: list[int]) -> str:
        return self.phase[rest[0]] if call == "launch" else f"{call} {self.cell(rest[0])}"

    def touched(self, call: str, rest: list[int]) -> dict[str, str]:
        if call == "copy":
            return {self.cell(rest[0]): "w", self.cell(rest[1]): "r"}
        if call in ("upload", "download"):
            return dict.fromkeys(self.cells_in(*rest), "w" if call == "upload" else "r")
        access = self.access[self.phase[rest[0]]]
        cells = {self.cell(address) for address in self.graphs[rest[0]]}
        return {cell: "w" if access.get(cell) == "w" or cell.startswith("memory") else "r" for cell in cells}

    def conflicts(self) -> Iterator[tuple[Work, Work, str]]:
        by_cell = defaultdict(list)
        for work in self.work:
            for cell, how in work.touches.items():
                by_cell[cell].append((work, how))
        for cell, users in by_cell.items():
            for index, (first, how) in enumerate(users):
                for second, other in users[index + 1 :]:
                    if "w" in (how, other) and first.stream != second.stream:
                        yield first, second, cell


def seen_on_mock(run_with_driver: Callable, mock_driver: Path, config: dict[str, Any]) -> dict[str, Any]:
    script = Path(__file__).with_name("order_on_mock.py")
    result = run_with_driver(str(script), str(mock_driver), json.dumps(config))
    assert result.returncode == 0, result.stderr
    assert "mock driver:" not in result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", CASES)
def test_conflicting_work_is_ordered(run_with_driver: Callable, mock_driver: Path, name: str) -> None:
    seen = seen_on_mock(run_with_driver, mock_driver, CASES[name])
    trace = Trace(seen)
    conflicts = 0
    for first, second, cell in trace.conflicts():
        assert first.is_before(second), f"{first.what} and {second.what} can meet at {cell}"
        conflicts += 1
    assert conflicts > 50


def test_the_stages_can_overlap(run_with_driver: Callable, mock_driver: Path) -> None:
    """encode(c+1), denoise(c) and decode(c-1): each pair is unordered, in streams of their own."""
    trace = Trace(seen_on_mock(run_with_driver, mock_driver, CASES["batch"]))
    runs = {phase: [work for work in trace.work if work.what == phase] for phase in ("encode", "denoise", "decode")}
    assert len({runs[phase][0].stream for phase in runs}) == 3
    # In a batch of 2, call c of denoise finishes chunk c - 1.
    stages = zip(runs["encode"][3:], runs["denoise"][2:], runs["decode"], strict=False)
    for encode, denoise, decode in stages:
        for one, other in ((encode, denoise), (denoise, decode), (encode, decode)):
            assert not one.is_before(other) and not other.is_before(one), f"{one.what} waits for {other.what}"
