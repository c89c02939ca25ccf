"""Every op under pytest-benchmark: ``pytest benchmarks/suite -k rms_norm``. ``penstock bench`` does without.

One benchmark per op and standard shape, of its costliest call; rounds take all variants in turns, but the clock counts
only ours, as the device timed it. The others are in extra_info, in microseconds.
"""

from __future__ import annotations

import statistics
from collections import defaultdict

import pytest

from penstock.benchmarks.cost import COMPUTE_BYTES
from penstock.benchmarks.op_benchmark import find_op, known_ops
from penstock.benchmarks.peaks import MeasuredPeaks, measure_peaks
from penstock.benchmarks.run_ops import CallBenchmark, Skipped, costly_calls, default_device, engine_name, label
from penstock.benchmarks.shapes import STANDARD, find_shape
from penstock.benchmarks.variants import Target

TARGET = Target(default_device())
ROUNDS = 15
CASES = [(op, shape) for op in known_ops() for shape in STANDARD[find_op(op).kind, TARGET.device]]


class Clock:
    """Moves on by what is measured, not by itself."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture(scope="session")
def peaks() -> MeasuredPeaks:
    return measure_peaks(TARGET)


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize(("op", "shape"), CASES)
def test_op(benchmark, peaks: MeasuredPeaks, op: str, shape: str) -> None:
    definition, skipped = find_op(op), Skipped()
    calls = find_shape(shape).calls(op, definition.settings, COMPUTE_BYTES[TARGET.device])
    if not calls:
        pytest.skip(f"{shape} has no {op}")
    call, _ = costly_calls(calls, peaks.for_floors, 1)[0]
    made = CallBenchmark(definition, call, TARGET, peaks.for_floors, skipped)
    ours = engine_name(op, TARGET.device)
    assert ours in made.variants, skipped.reasons
    samples = defaultdict(list)

    def one_round() -> None:
        for name, variant in made.variants.items():
            seconds = variant.sample()
            samples[name].append(1e6 * seconds)
            if name == ours:
                CLOCK.now += seconds

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info.update({name: statistics.median(values) for name, values in samples.items()})
    benchmark.extra_info.update(call=label(call), floor_us=1e6 * made.floor, skipped=skipped.reasons)
