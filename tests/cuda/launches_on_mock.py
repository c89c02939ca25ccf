"""Prints as JSON, for every call of an op in some plans, how the engine launches its kernels on the mock driver and how
the launching function of ``kernels/<op>.py`` does: kernel, grid, threads and parameters; and which roles are absent.

usage: launches_on_mock.py MOCK_LIBRARY CONFIGS_JSON

A parameter is [its name, value]: a number, the name of a role, "" for null or for memory that no role has.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from penstock import kernels
from penstock.benchmarks.cost import Call
from penstock.benchmarks.variants import launching
from penstock.kernels.variant import Variant
from penstock.runtime.config import Config
from penstock.runtime.engine import Engine
from penstock.runtime.model import ModelSpec
from penstock.runtime.models.video_stream import stream_plan
from penstock.runtime.plan import PlanBuilder
from penstock.runtime.vae_spec import TaehvSpec, WanVaeSpec
from tests.cuda.order_on_mock import taken_log
from tests.cuda.stream_on_mock import WIDTHS

TORCH = {"compute": torch.bfloat16, "f32": torch.float32, "u8": torch.uint8, "i32": torch.int32, "i64": torch.int64,
         "u64": torch.uint64}  # fmt: skip
MULTIPROCESSORS = 132

Launches = list[list[Any]]


class OnDevice(torch.Tensor):
    """A tensor that says that it is on a device."""

    is_cuda = True


class Recorder:
    """Stands in for a kernel: notes what it is launched with."""

    def __init__(self, kernel: Any, launches: list[tuple[str, tuple[int, ...], int, list[Any]]]):
        self.kernel, self.launches, self.__name__ = kernel, launches, kernel.__name__

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*values: Any, num_warps: int = 4, **options: Any) -> None:
            self.launches.append((self.__name__, (*grid, 1, 1)[:3], 32 * num_warps, list(values)))

        return launch


def calls_of(config: dict[str, Any]) -> Iterator[Call]:
    coders = {"vae": WanVaeSpec(base_dim=16), "taehv": TaehvSpec(16, 16, (64, 32, 16, 16))}
    plan = stream_plan(ModelSpec("mock", WIDTHS["tiny"], **coders), Config(**config))
    for ops in plan.phases.values():
        yield from (Call.of(plan, op) for op in ops if op.op != "gemm")


def find_kernels(launches: Any) -> dict[str, Variant]:
    """One variant of each kernel; in the modules recorders take their places."""
    known = {}
    names = sorted(path.stem for path in Path(kernels.__file__).parent.glob("*.py"))
    modules = [importlib.import_module(f"{kernels.__name__}.{name}") for name in names if name != "__init__"]
    for module in modules:
        for variant in getattr(module, "VARIANTS", ()):
            if isinstance(variant, Variant):
                known[variant.kernel.__name__] = variant
    for module in modules:
        for name, kernel in list(vars(module).items()):
            if name in known and not isinstance(kernel, Recorder):
                setattr(module, name, Recorder(kernel, launches))
    return known


def engine_launches(call: Call, mock: ctypes.CDLL, known: dict[str, Variant]) -> Launches:
    plan = PlanBuilder(call.op, {})
    inputs = [role for role in call.shapes if role not in call.outputs | call.updates]
    kinds = ((plan.input, inputs), (plan.output, call.outputs), (plan.state, call.updates))
    roles = [{role: add(role, call.shapes[role], dtype=call.dtypes[role]) for role in names} for add, names in kinds]
    with plan.phase("run"):
        plan.op(call.op, *roles, **call.attributes)
    engine = Engine.create(plan.finish(), [], device="cuda")
    mock.mock_log()
    session = engine.session()
    launched = [entry[1:] for entry in taken_log(mock) if entry[0] == "kernel"]
    places = {}
    for role in call.shapes:
        session.read(role)
        places[next(entry[2] for entry in taken_log(mock) if entry[0] == "download")] = role
    return [[symbol, [x, y, z], threads, decoded(known[symbol], values, places)]
            for symbol, x, y, z, threads, *values in launched]  # fmt: skip


def decoded(variant: Variant, values: list[int], places: dict[int, str]) -> list[Any]:
    """The parameters of a launch by their types; what Triton wants behind them is left out."""
    found: list[Any] = []
    for (name, kind), value in zip(variant.types.items(), values, strict=False):
        shown: Any = places.get(value, "")
        if not kind.startswith("*"):
            form = {"i32": "<i", "i64": "<q", "u64": "<Q", "fp32": "<f"}[kind]
            shown = struct.unpack_from(form, struct.pack("<Q", value))[0]
        found.append([name, shown])
    return found


def python_launches(call: Call, launches: Any, known: dict[str, Variant]) -> Launches:
    tensors = {role: torch.zeros(shape, dtype=TORCH[call.dtypes[role]]).as_subclass(OnDevice)
               for role, shape in call.shapes.items()}  # fmt: skip
    places = {tensor.data_ptr(): role for role, tensor in tensors.items()}
    launches.clear()
    launching(call)(tensors)()

    def shown(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return places.get(value.data_ptr(), "")
        return float(np.float32(value)) if isinstance(value, float) else int(value)

    def named(kernel: str, values: list[Any]) -> list[list[Any]]:
        return [[name, shown(value)] for name, value in zip(known[kernel].types, values, strict=False)]

    return [[kernel, grid, threads, named(kernel, values)] for kernel, grid, threads, values in launches]


def absent_roles(call: Call) -> list[str]:
    launch = getattr(importlib.import_module(f"{kernels.__name__}.{call.op}"), call.op)
    optional = [name for name, parameter in signature(launch).parameters.items() if parameter.default is None]
    return sorted(set(optional) - call.shapes.keys())


def main() -> None:
    mock = ctypes.CDLL(sys.argv[1])
    mock.mock_log.restype = ctypes.c_char_p
    torch.cuda.get_device_properties = lambda device: SimpleNamespace(multi_processor_count=MULTIPROCESSORS)
    launches: Any = []
    known = find_kernels(launches)
    calls = {repr(call): call for config in json.loads(sys.argv[2]) for call in calls_of(config)}
    for call in calls.values():
        pair = engine_launches(call, mock, known), python_launches(call, launches, known)
        described = {key: value for key, value in asdict(call).items() if key in ("op", "shapes", "attributes")}
        print(json.dumps([described, absent_roles(call), *pair]))


if __name__ == "__main__":
    main()
