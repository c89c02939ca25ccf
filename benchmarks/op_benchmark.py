"""What one file of ``benchmarks/ops`` says of its op, and the data that all its variants work on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from penstock.runtime.engine import NUMPY_DTYPES
from penstock.runtime.errors import PenstockError

from .cost import Call

Arrays = dict[str, np.ndarray]
# Takes the op's roles and attributes by name, prepares, and returns what is timed; its result is the op's first output,
# or outputs by role.
Baseline = Callable[..., Callable[[], Any]]

_BLOCK = 1 << 22
NO_ADAPTIVE_SINKS = {"sink_threshold": -1.0}


@dataclass(frozen=True)
class OpBenchmark:
    """How an op is measured.

    kind: ``dit`` or ``coder``, the standard shapes. baselines: name → what it is compared with; the first is also what
    results are. settings: fields of the config under which plans have the op. values: what roles hold that must not
    be random; a role of integers that is not named holds zeros. tolerance: relative L2 that variants may differ by from
    the first baseline, in float32 and in bf16; None where their outputs need not agree. What a baseline returns must
    not wait for the device, since it is captured into a CUDA graph. has_cuda_form: whether the op has a kernel in CUDA
    C++ beside the one in Triton; ``cuda`` is then the engine with it, where it can be had, default or not.
    """

    op: str
    kind: str
    baselines: Mapping[str, Baseline]
    settings: Mapping[str, Any] = field(default_factory=lambda: NO_ADAPTIVE_SINKS)
    values: Callable[[Call], Mapping[str, Any]] = lambda call: {}
    tolerance: tuple[float, float] | None = (1e-4, 2e-2)
    has_cuda_form: bool = False


# Baseline → the module that it needs; all others are plain torch.
LIBRARY = {"flash3": "flash_attn_interface", "flashinfer": "flashinfer"}
# Baselines that only a GPU has.
GPU_ONLY = {"sdpa-flash", "sdpa-cudnn", "cublaslt"}


@cache
def known_ops() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (Path(__file__).parent / "ops").glob("*.py") if path.stem != "__init__"))


def find_op(name: str) -> OpBenchmark:
    """The benchmark of an op; PenstockError listing the known ones where there is none."""
    if name not in known_ops():
        raise PenstockError(f"op: expected one of {', '.join(known_ops())}, got {name!r:.80}")
    return importlib.import_module(f"{__package__}.ops.{name}").BENCHMARK


@cache
def _normal_block() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(_BLOCK, dtype=np.float32)


def random_arrays(benchmark: OpBenchmark, call: Call) -> Arrays:
    """Values of every role of a call: normal numbers, bytes, zeros for other integers and for what the op only writes,
    or what the op's file says.

    Floats are float32 and fit into bf16 exactly, so that all dtypes start from the same numbers.
    """
    fixed = benchmark.values(call)
    arrays: Arrays = {}
    for index, (role, shape) in enumerate(call.shapes.items()):
        dtype = NUMPY_DTYPES.get(call.dtypes[role], np.float32)
        if role in fixed:
            values = np.broadcast_to(np.asarray(fixed[role], dtype), shape).copy()
        elif role in call.outputs:
            values = np.zeros(shape, dtype)
        elif dtype == np.uint8:
            values = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        elif np.issubdtype(dtype, np.floating):
            block = np.roll(_normal_block(), 7919 * index) * _scale(role, shape)
            values = np.resize((block.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32), shape)
        else:
            values = np.zeros(shape, dtype)
        arrays[role] = np.ascontiguousarray(values)
    return arrays


def _scale(role: str, shape: tuple[int, ...]) -> np.float32:
    """Weights of matrices keep the scale of what goes through them."""
    return np.float32(np.prod(shape[1:]) ** -0.5 if role.endswith("weight") and len(shape) > 1 else 1.0)
