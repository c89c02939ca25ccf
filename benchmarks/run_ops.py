"""Measures ops: every implementation that the machine can run, beside the libraries, on the same values.

The rows have the schema of ``results.py``. Before anything is timed, the outputs of all variants are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from penstock.runtime.engine import query_system
from penstock.runtime.errors import PenstockError

from .coded_frames import TOLERANCE as CODED_TOLERANCE
from .coded_frames import as_numbers
from .cost import COMPUTE_BYTES, Call, Cost, Peaks, op_cost
from .libraries import torch, why_missing
from .op_benchmark import GPU_ONLY, LIBRARY, Arrays, OpBenchmark, random_arrays
from .peaks import MeasuredPeaks
from .results import REST
from .shapes import Shape
from .timing import Measure, Variant, measure_interleaved
from .variants import EngineVariant, Rotation, Target, TorchData, TorchVariant, asking_for, launching

_SECONDS = {"cpu": 0.3, "cuda": 0.15}  # per call, for all variants together
OURS = ("cpu", "triton", "cuda", "library")


@dataclass
class Skipped:
    """What was not measured, and why; each once."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, why: str) -> None:
        self.reasons.setdefault(what, why)

    @contextmanager
    def rest_if_interrupted(self) -> Iterator[None]:
        """So that what was measured until then is kept: who wrote it down tells (penstock bench exits with 130)."""
        try:
            yield
        except KeyboardInterrupt:
            self.add(REST, "interrupted")


def engine_name(op: str, device: str) -> str:
    """What the engine's implementation is called: of the device, ``library`` is cuBLASLt, ``cuda`` all kernels."""
    return "cpu" if device == "cpu" else "library" if op == "gemm" else "cuda"


def default_device() -> str:
    return "cuda" if query_system()["cuda_device_count"] else "cpu"


def check_device(device: str) -> str:
    """The device that ``auto`` stands for; PenstockError where the one that is asked for is not here."""
    found = default_device()
    if device == "cuda" and found != "cuda":
        raise PenstockError(f"device cuda: {query_system()['cuda_problem'] or 'no NVIDIA device'}")
    return found if device == "auto" else device


class CallBenchmark:
    """One call of an op with its variants, checked against each other, ready to be timed."""

    def __init__(self, benchmark: OpBenchmark, call: Call, target: Target, peaks: Peaks, skipped: Skipped):
        self.benchmark, self.call, self.target, self.skipped = benchmark, call, target, skipped
        self.cost: Cost = op_cost(call)
        self.rotation = Rotation.of(self.cost, call, peaks, target.device)
        self.floor = peaks.floor_seconds(self.cost)
        self.variants: dict[str, Variant] = {}
        self.errors: dict[str, float] = {}
        self._results: dict[str, dict[str, np.ndarray]] = {}
        self._build()
        self._check()

    def _build(self) -> None:
        call, target, values = self.call, self.target, random_arrays(self.benchmark, self.call)
        if not target.is_cuda:
            self.skipped.add("triton, cuda, library", "they need an NVIDIA device")
        self._add(engine_name(call.op, target.device), lambda: self._engine(values), lambda made: made.result())
        if why := why_missing("torch", target.device):
            self.skipped.add("all libraries", why)
            return
        try:
            data = TorchData(call, values, target, self.rotation.sets)
        except RuntimeError as error:  # out of memory
            self.skipped.add(f"libraries of {call.op} {label(call)}", str(error).splitlines()[0][:200])
            return
        output = first_output(call)
        for name, prepare in self._prepares():
            self._add(name, lambda prepare=prepare: TorchVariant(prepare, data, self.rotation),
                      lambda made: made.result(output))  # fmt: skip

    def _engine(self, values: Arrays) -> EngineVariant:
        """With the op's form in CUDA C++, where it has one and the device and this build can run it."""
        if self.target.is_cuda and self.benchmark.has_cuda_form:
            try:
                with asking_for(self.call.op, "cuda"):
                    return EngineVariant(self.call, values, self.target, self.rotation)
            except PenstockError as error:
                if "PENSTOCK_IMPL" not in str(error):
                    raise
                self.skipped.add(f"{self.call.op} in CUDA C++", str(error).splitlines()[0])
        return EngineVariant(self.call, values, self.target, self.rotation)

    def _prepares(self) -> Iterator[tuple[str, Callable[[dict[str, Any]], Callable[[], Any]]]]:
        """Every implementation in torch that can run here, by name; the others are noted as skipped."""
        if self.target.is_cuda and (why := why_missing("triton", self.target.device)):
            self.skipped.add("triton", why)
        elif self.target.is_cuda and self.call.op != "gemm":  # which is cuBLASLt alone
            yield "triton", launching(self.call)
        for name, baseline in self.benchmark.baselines.items():
            why = why_missing(LIBRARY.get(name, "torch"), self.target.device)
            if name in GPU_ONLY and not self.target.is_cuda:
                why = "it needs an NVIDIA device"
            if why:
                self.skipped.add(name, why)
                continue
            yield name, lambda tensors, run=baseline: run(**self.call.attributes | tensors)

    def _add(self, name: str, make: Callable[[], Any], result: Callable[[Any], dict[str, np.ndarray]]) -> None:
        """A variant, unless it fails: what a library does not support must not end the run."""
        try:
            made = make()
            if self.benchmark.tolerance is not None:
                self._results[name] = result(made)
        except (PenstockError, RuntimeError, NotImplementedError, ValueError, TypeError) as error:
            self.skipped.add(f"{name} of {self.call.op} {label(self.call)}", str(error).splitlines()[0][:200])
            return
        self.variants[name] = made

    def _check(self) -> None:
        """Relative L2 of every variant's outputs against the first baseline's; what differs is not timed."""
        yardstick = next((name for name in self.benchmark.baselines if name in self._results), None)
        if yardstick is None:
            return
        tolerance = CODED_TOLERANCE if "y_scale" in self.call.shapes else self.benchmark.tolerance
        limit = tolerance[self.target.is_cuda]
        for name, result in self._results.items():
            expected = self._results[yardstick]
            self.errors[name] = max(self._difference(role, result, expected) for role in expected if role in result)
            if not self.errors[name] <= limit:
                del self.variants[name]
                self.skipped.add(
                    f"{name} of {self.call.op} {label(self.call)}",
                    f"wrong: relative L2 {self.errors[name]:.1e} from {yardstick}, at most {limit:.0e}",
                )
        self._results.clear()

    def _difference(self, role: str, result: Arrays, expected: Arrays) -> float:
        return difference(*(as_numbers(self.call, role, values[role]) for values in (result, expected)))

    def measure(self, seconds: float) -> dict[str, Measure]:
        return measure_interleaved(self.variants, seconds)


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Relative L2, in float32; of a ring, the frames that were written: they are its first."""
    actual, expected = actual.reshape(-1)[: expected.size], expected.reshape(-1)
    apart = actual - expected
    return float(np.sqrt(np.dot(apart, apart)) / (np.sqrt(np.dot(expected, expected)) or 1.0))


def first_output(call: Call) -> str:
    return next(role for roles in (call.outputs, call.updates) for role in call.shapes if role in roles)


_UNSAID = {"stride": 1, "upsample": 1, "time_stride": 1, "interleave": 1, "activation": "none", "clamp": "none",
           "x_range": "none", "y_range": "none"}  # fmt: skip
_SAID = (*_UNSAID, "norm", "advance", "phase", "count")
_OPTIONAL = ("residual", "gate", "past", "x_frame", "y_frame", "raw", "mean", "noise")


def label(call: Call) -> str:
    """A call in short: the shapes of its first input and first output, and what tells it from others of its op."""
    inputs = [role for role in call.shapes if role not in call.outputs]
    roles = dict.fromkeys((inputs[0], first_output(call)))
    words = ["->".join("x".join(map(str, call.shapes[role])) for role in roles)]
    if call.op == "causal_conv3d":
        words.append("kernel=" + "x".join(map(str, call.shapes["weight"][1:4])))
    words += [f"{name}={value}" for name, value in call.attributes.items()
              if name in _SAID and value != _UNSAID.get(name)]  # fmt: skip
    words += [f"+{role}" for role in _OPTIONAL if role in call.shapes]
    return " ".join(words)


def costly_calls(calls: Sequence[tuple[Call, int]], peaks: Peaks, most: int | None) -> list[tuple[Call, int]]:
    """The calls that take longest in all, at their floors; ``most`` None: all of them."""
    ranked = sorted(calls, key=lambda entry: -entry[1] * peaks.floor_seconds(op_cost(entry[0])))
    return ranked[:most]


def by_importance(
    jobs: Sequence[tuple[OpBenchmark, Shape]], target: Target, peaks: Peaks
) -> list[tuple[OpBenchmark, Shape]]:
    """All ops at the first shape of their kind, then at the second; the costliest first."""
    rank: dict[str, dict[str, int]] = {}
    for benchmark, shape in jobs:
        rank.setdefault(benchmark.kind, {}).setdefault(shape.name, len(rank[benchmark.kind]))

    def order(job: tuple[OpBenchmark, Shape]) -> tuple[int, float]:
        benchmark, shape = job
        calls = shape.calls(benchmark.op, benchmark.settings, COMPUTE_BYTES[target.device])
        return rank[benchmark.kind][shape.name], -sum(n * peaks.floor_seconds(op_cost(call)) for call, n in calls)

    return sorted(jobs, key=order)


def measure_op(
    benchmark: OpBenchmark, shape: Shape, target: Target, peaks: MeasuredPeaks, skipped: Skipped,
    most: int | None = None, seconds: float | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of one op at one shape: one for each of the ``most`` costliest calls and each implementation."""
    calls = shape.calls(benchmark.op, benchmark.settings, COMPUTE_BYTES[target.device])
    if not calls:
        skipped.add(f"{benchmark.op} {shape.name}", "the plan has no such op")
        return []
    rows: list[dict[str, Any]] = []
    for call, count in costly_calls(calls, peaks.for_floors, most):
        made = CallBenchmark(benchmark, call, target, peaks.for_floors, skipped)
        for name, measure in made.measure(_SECONDS[target.device] if seconds is None else seconds).items():
            rows.append(_row(made, shape, name, count, measure))
        del made
        if target.is_cuda and torch is not None:
            torch.cuda.empty_cache()
    return rows


def _row(made: CallBenchmark, shape: Shape, name: str, count: int, seconds: Measure) -> dict[str, Any]:
    call, cost = made.call, made.cost
    labels = {"op": call.op, "shape": shape.name, "call": label(call), "implementation": name}
    return {
        "id": "/".join(labels.values()), "kind": "op", **labels, "ours": name in OURS, "count": count,
        "flops": cost.flops, "matrix_flops": cost.matrix_flops, "bytes": cost.nbytes, "floor_us": 1e6 * made.floor,
        "relative_l2": made.errors.get(name), "repeats": made.rotation.repeats,
        "metrics": {"us": seconds.scaled(1e6).to_json()},
    }  # fmt: skip


def measure_set(
    jobs: Sequence[tuple[OpBenchmark, Shape]], target: Target, peaks: MeasuredPeaks, skipped: Skipped,
    most: int | None, seconds: float | None, tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of many ops; after ``seconds`` no new one is begun, and those left are named in ``skipped``.

    With a limit the jobs go by shape, in the order of their first mention, and the op that takes longest at its floor
    is first; else in order.
    """
    begin, rows = time.perf_counter(), []
    with skipped.rest_if_interrupted():
        for benchmark, shape in jobs if seconds is None else by_importance(jobs, target, peaks.for_floors):
            if seconds is not None and time.perf_counter() - begin > seconds:
                skipped.add(f"{benchmark.op} {shape.name}", f"no time left of {seconds:.0f} s")
                continue
            tell(f"{benchmark.op} {shape.name}")
            rows += measure_op(benchmark, shape, target, peaks, skipped, most)
    return rows
