"""What the machine reaches at best, measured once per run: large copies and large matrix products.

Floors are taken from these, not from data sheets. Matrix products are those of the best implementation that is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cost import Call, Peaks
from .libraries import torch
from .op_benchmark import random_arrays
from .ops.gemm import BENCHMARK as GEMM
from .timing import Measure, Variant, measure_interleaved
from .variants import EngineVariant, Rotation, Target, TorchData, TorchVariant

_COPY_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}
_MATRIX = {"cpu": 1536, "cuda": 8192}
_SECONDS = {"cpu": 0.5, "cuda": 0.2}


class _Timed:
    """Any call as a variant, on the CPU."""

    def __init__(self, call: Callable[[], Any]):
        self.call = call

    def sample(self) -> float:
        start = time.perf_counter()
        self.call()
        return time.perf_counter() - start


@dataclass(frozen=True)
class MeasuredPeaks:
    """copy: bytes/s, read and written; matrix: FLOP/s in the compute dtype; fp8: FLOP/s, None where there is none."""

    copy: Measure
    matrix: Measure
    fp8: Measure | None = None

    @property
    def for_floors(self) -> Peaks:
        return Peaks(self.matrix.value, self.copy.value)

    def to_json(self) -> dict[str, Any]:
        rates = {"copy_bytes_per_s": self.copy, "matrix_flop_per_s": self.matrix, "fp8_flop_per_s": self.fp8}
        return {name: rate.to_json() for name, rate in rates.items() if rate}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> MeasuredPeaks:
        fp8 = record.get("fp8_flop_per_s")
        return cls(Measure.from_json(record["copy_bytes_per_s"]), Measure.from_json(record["matrix_flop_per_s"]),
                   fp8 and Measure.from_json(fp8))  # fmt: skip


def _rate(amount: float, time: Measure) -> Measure:
    """Amount per second; the ends of the interval change places."""
    return Measure(amount / time.value, amount / time.high, amount / time.low, time.rounds)


def _best(variants: Mapping[str, Variant], amount: float, target: Target) -> Measure:
    measured = measure_interleaved(variants, _SECONDS[target.device])
    return max((_rate(amount, time) for time in measured.values()), key=lambda rate: rate.value)


def measure_peaks(target: Target) -> MeasuredPeaks:
    fp8 = _fp8(target) if target.is_cuda and torch is not None else None
    return MeasuredPeaks(_copy(target), _matrix(target), fp8)


def _copy(target: Target) -> Measure:
    size = _COPY_BYTES[target.device]
    if torch is None:
        source, copy = (np.ones(size // 4, np.float32) for _ in range(2))
        return _best({"numpy": _Timed(lambda: np.copyto(copy, source))}, 2 * size, target)
    call = Call("copy", {"x": (size // 4,), "y": (size // 4,)}, {"x": "f32", "y": "f32"}, {})
    values = {role: np.ones(size // 4, np.float32) for role in call.shapes}
    data = TorchData(call, values, target, 1)
    copy = TorchVariant(lambda tensors: lambda: tensors["y"].copy_(tensors["x"]), data, Rotation(1, 1))
    return _best({"torch": copy}, 2 * size, target)


def _matrix(target: Target) -> Measure:
    n = _MATRIX[target.device]
    shapes = {"x": (n, n), "weight": (n, n), "y": (n, n)}
    call = Call("gemm", shapes, dict.fromkeys(shapes, "compute"), {"activation": "none"}, frozenset({"y"}))
    values, once = random_arrays(GEMM, call), Rotation(1, 1)
    variants: dict[str, Variant] = {"engine": EngineVariant(call, values, target, once)}
    if torch is not None:
        product = GEMM.baselines["eager"]
        data = TorchData(call, values, target, 1)
        variants["torch"] = TorchVariant(lambda tensors: product(**tensors, activation="none"), data, once)
    return _best(variants, 2.0 * n**3, target)


def _fp8(target: Target) -> Measure | None:
    """torch._scaled_mm in e4m3 with scales of 1, where the device has it."""
    if torch.cuda.get_device_capability() < (8, 9):
        return None
    n = _MATRIX[target.device]
    x, weight = (torch.randn(n, n, device="cuda").to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device="cuda")

    def prepare(_: dict[str, Any]) -> Callable[[], Any]:
        return lambda: torch._scaled_mm(x, weight.T, one, one, out_dtype=torch.bfloat16)

    empty = TorchData(Call("fp8", {}, {}, {}), {}, target, 1)
    return _best({"torch": TorchVariant(prepare, empty, Rotation(1, 1))}, 2.0 * n**3, target)
