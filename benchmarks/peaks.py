"""What the machine reaches at best, measured once per run: large copies and large matrix products.

Floors are taken from these, not from data sheets. Matrix products are those of the best implementation that is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cost import COMPUTE_BYTES, Call, Peaks
from .libraries import torch, why_missing
from .op_benchmark import random_arrays
from .ops.gemm import BENCHMARK as GEMM
from .timing import Measure, Variant, measure_interleaved
from .variants import EngineVariant, Rotation, Target, TorchData, TorchVariant

_COPY_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}
_MATRIX = {"cpu": 1536, "cuda": 8192}
_ROW = 1 << 10
_SECONDS = {"cpu": 0.5, "cuda": 0.2}
_ONCE = Rotation(1, 1)


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
    fp8 = _fp8(target) if target.is_cuda and _has_torch(target) else None
    return MeasuredPeaks(_copy(target), _matrix(target), fp8)


def _has_torch(target: Target) -> bool:
    return why_missing("torch", target.device) is None


def _copy(target: Target) -> Measure:
    """Half the bytes are read, half written."""
    rows = _COPY_BYTES[target.device] // (2 * COMPUTE_BYTES[target.device] * _ROW)
    shape = (1, rows, 1, _ROW)
    shapes = {"k": shape, "v": shape, "k_cache": shape, "v_cache": shape, "ring_write": (1,)}
    dtypes = {role: "i32" if role == "ring_write" else "compute" for role in shapes}
    updates = frozenset({"k_cache", "v_cache"})
    call = Call("cache_write", shapes, dtypes, {"frames": 1, "frame_tokens": rows}, updates=updates)
    values = {role: np.zeros(shape, np.int32 if role == "ring_write" else np.float32) for role, shape in shapes.items()}

    def prepare(tensors: dict[str, Any]) -> Callable[[], Any]:
        return lambda: (tensors["k_cache"].copy_(tensors["k"]), tensors["v_cache"].copy_(tensors["v"]))

    variants: dict[str, Variant] = {"engine": EngineVariant(call, values, target, _ONCE)}
    if _has_torch(target):
        variants["torch"] = TorchVariant(prepare, TorchData(call, values, target, 1), _ONCE)
    return _best(variants, 2 * _COPY_BYTES[target.device], target)


def _matrix(target: Target) -> Measure:
    n = _MATRIX[target.device]
    shapes = {"x": (n, n), "weight": (n, n), "y": (n, n)}
    call = Call("gemm", shapes, dict.fromkeys(shapes, "compute"), {"activation": "none"}, frozenset({"y"}))
    values = random_arrays(GEMM, call)
    variants: dict[str, Variant] = {"engine": EngineVariant(call, values, target, _ONCE)}
    if _has_torch(target):
        product = GEMM.baselines["eager"]
        data = TorchData(call, values, target, 1)
        variants["torch"] = TorchVariant(lambda tensors: product(**tensors, activation="none"), data, _ONCE)
    return _best(variants, 2.0 * n**3, target)


def _fp8(target: Target) -> Measure | None:
    """torch._scaled_mm in e4m3 with scales of 1, where the device has it."""
    if torch.cuda.get_device_capability() < (8, 9):
        return None
    n = _MATRIX[target.device]
    x, weight = (torch.randn(n, n, device="cuda").to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device="cuda")

    def prepare(_: dict[str, Any]) -> Callable[[], Any]:
        return lambda: torch._scaled_mm(x, weight.T, one, one, out_dtype=torch.bfloat16, use_fast_accum=True)

    empty = TorchData(Call("fp8", {}, {}, {}), {}, target, 1)
    return _best({"torch": TorchVariant(prepare, empty, _ONCE)}, 2.0 * n**3, target)
