"""Medians and intervals, interleaving, and CUDA graphs of variants over a stand-in for the device."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from penstock.benchmarks.cost import Call
from penstock.benchmarks.timing import MAX_ROUNDS, MIN_ROUNDS, Measure, measure_interleaved
from penstock.benchmarks.variants import Rotation, Target, TorchData, TorchVariant


def test_the_interval_holds_the_median() -> None:
    """In 95 of 100 runs, whatever the distribution; so in at least 90 of 100 with many runs."""
    rng = np.random.default_rng()
    for n in (7, 15, 60):
        inside = 0
        for _ in range(400):
            measure = Measure.of(rng.exponential(1.0, n).tolist())
            inside += measure.low <= np.log(2) <= measure.high
        assert inside > 360, n


def test_quantiles() -> None:
    samples = list(range(1, 101))
    np.random.default_rng(0).shuffle(samples)
    assert Measure.of(samples).value == 50.5
    p99 = Measure.of(samples, 0.99)
    assert p99.value == pytest.approx(99.01) and p99.low < 99 and p99.high == 100


def test_passes_widen_the_interval() -> None:
    over = Measure.over([Measure(10, 9, 11, 7), Measure(12, 11.5, 13, 7)])
    assert over == Measure(11, 9, 13, 14)
    assert over.noise == pytest.approx(2 / 11)
    assert Measure.from_json(over.to_json()) == over


def test_variants_take_turns() -> None:
    order: list[str] = []

    class Recorded:
        def __init__(self, name: str, seconds: float):
            self.name, self.seconds = name, seconds

        def sample(self) -> float:
            order.append(self.name)
            time.sleep(self.seconds / 100)
            return self.seconds

    found = measure_interleaved({"a": Recorded("a", 0.02), "b": Recorded("b", 0.01)}, 0.0)
    assert order == ["a", "b"] * (MIN_ROUNDS + 1)  # the first round warms up
    assert found["a"] == Measure(0.02, 0.02, 0.02, MIN_ROUNDS) and found["b"].value == 0.01
    assert measure_interleaved({"a": Recorded("a", 0.0)}, 60.0)["a"].rounds == MAX_ROUNDS


class FakeGraph:
    """Records what was called between begin and end, and calls it again at a replay."""

    recording: list[Any] | None = None

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1


@contextmanager
def fake_capture(graph: FakeGraph) -> Iterator[None]:
    FakeGraph.recording = graph.calls
    yield
    FakeGraph.recording = None


class FakeEvent:
    """A millisecond for every replay."""

    def __init__(self, enable_timing: bool):
        assert enable_timing

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, _: FakeEvent) -> float:
        return 6.0


class FakeStream:
    def wait_stream(self, _: FakeStream) -> None:
        pass


@contextmanager
def fake_stream(_: FakeStream) -> Iterator[None]:
    yield


def test_a_gpu_variant_is_a_graph_over_all_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeStream()
    for name, value in {"CUDAGraph": FakeGraph, "graph": fake_capture, "Event": FakeEvent, "stream": fake_stream,
                        "Stream": lambda: stream, "current_stream": lambda: stream}.items():  # fmt: skip
        assert hasattr(torch.cuda, name)
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, to, copy=False: self.type(to) if isinstance(to, torch.dtype)
                        else self.clone())  # fmt: skip
    call = Call("scale", {"x": (4,), "n": (1,)}, {"x": "compute", "n": "i32"}, {})
    data = TorchData(call, {"x": np.ones(4, np.float32), "n": np.ones(1, np.int32)}, Target("cuda"), 3)
    assert [tensors["x"].dtype for tensors in data.sets] == [torch.bfloat16] * 3
    assert data.sets[0]["n"].dtype == torch.int32

    def prepare(tensors: dict[str, torch.Tensor]) -> Any:
        def run() -> torch.Tensor:
            if FakeGraph.recording is not None:
                FakeGraph.recording.append(tensors["x"].data_ptr())
            return tensors["x"] * 2

        return run

    variant = TorchVariant(prepare, data, Rotation(3, 6))
    places = [tensors["x"].data_ptr() for tensors in data.sets]
    assert variant.graph.calls == places * 2 and len(set(places)) == 3
    assert variant.sample() == 1e-3 and variant.graph.replays == 1
    assert variant.result("y")["y"].tolist() == [2.0] * 4
