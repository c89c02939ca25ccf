"""The implementations of one call as things to be timed: the engine's, a kernel's launching function, a library's.

A GPU variant is a CUDA graph of ``repeats`` calls that go round over ``sets`` of tensors, more than the second-level
cache holds, and the time is between two events around its replay. On the CPU it is the same calls one after the other.
All variants hold the same values.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from penstock.runtime.engine import Engine
from penstock.runtime.errors import PenstockError
from penstock.runtime.plan import PlanBuilder, Tensor
from penstock.runtime.safetensors_io import float32_to_bf16_bits

from .cost import Call, Cost, Peaks
from .libraries import torch
from .op_benchmark import Arrays

IMPLEMENTATIONS = "PENSTOCK_IMPL"  # read when an engine's phases are prepared
CACHE_BYTES = {"cpu": 40 << 20, "cuda": 64 << 20}  # more than the last cache of the machines that this is for
_MAX_SETS = {"cpu": 16, "cuda": 256}
_SAMPLE_SECONDS, _SHORTEST = {"cpu": 2e-3, "cuda": 4e-4}, 1e-6


@dataclass(frozen=True)
class Target:
    """Where variants run: ``cpu`` with so many threads (0: all cores), or ``cuda``."""

    device: str
    threads: int = 0

    @property
    def is_cuda(self) -> bool:
        return self.device == "cuda"

    def seconds(self, run: Callable[[], None]) -> float:
        """How long ``run`` takes on the CPU. With one thread that is the time it computes, so that other work on the
        machine disturbs little; threads that wait for each other can only be timed by the clock on the wall."""
        clock = time.process_time if self.threads == 1 else time.perf_counter
        start = clock()
        run()
        return clock() - start


@dataclass(frozen=True)
class Rotation:
    """How many sets of tensors, and how many calls a sample makes: a multiple of them."""

    sets: int
    repeats: int

    @classmethod
    def of(cls, cost: Cost, call: Call, peaks: Peaks, device: str) -> Rotation:
        """Sets of twice the cache together, but at most 256 (16 on the CPU), so that small tensors may stay in it.

        A sample takes 0.4 ms (2 ms on the CPU) at the floor, or longer if a turn of all sets does.
        """
        sets = min(max(2, -(-2 * CACHE_BYTES[device] // max(call.nbytes(*call.shapes), 1))), _MAX_SETS[device])
        calls = _SAMPLE_SECONDS[device] / max(peaks.floor_seconds(cost), _SHORTEST)
        return cls(sets, sets * max(1, int(calls / sets)))


@contextmanager
def asking_for(op: str, implementation: str) -> Iterator[None]:
    """Engines made within use this implementation of the op, unless PENSTOCK_IMPL is already set."""
    if IMPLEMENTATIONS in os.environ:
        yield
        return
    os.environ[IMPLEMENTATIONS] = f"{op}={implementation}"
    try:
        yield
    finally:
        del os.environ[IMPLEMENTATIONS]


class EngineVariant:
    """The op as the engine runs it, in a plan of its own: on the device as one graph, which its events time."""

    def __init__(self, call: Call, values: Arrays, target: Target, rotation: Rotation):
        self.target, self.rotation = target, rotation
        plan = PlanBuilder(f"benchmark of {call.op}", {})
        sets = [self._declare(plan, call, index) for index in range(rotation.sets)]
        plan.step("done", "i32", (1,))
        for phase, repeats in (("once", 1), ("run", rotation.repeats)):
            with plan.phase(phase):
                for index in range(repeats):
                    roles = sets[index % rotation.sets]
                    plan.op(call.op, *roles, **call.attributes)
        self.session = Engine.create(plan.finish(), [], target.device, target.threads).session()
        self.written = {role: tensor.name for tensors in sets[0][1:] for role, tensor in tensors.items()}
        engine = self.session.engine
        for role, tensor in (sets[0][0] | sets[0][2]).items():
            is_bf16 = engine.tensor_info(tensor.name).dtype == "bf16"
            stored = float32_to_bf16_bits(values[role]) if is_bf16 else values[role]  # once for all sets
            for inputs, _, updates in sets:
                self.session.write((inputs | updates)[role].name, stored)

    @staticmethod
    def _declare(plan: PlanBuilder, call: Call, index: int) -> tuple[dict[str, Tensor], ...]:
        """Tensors of one set: inputs, outputs, updates by role."""

        def tensor(add: Callable[..., Tensor], role: str) -> Tensor:
            return add(f"{role}.{index}", call.shapes[role], dtype=call.dtypes[role])

        inputs = [role for role in call.shapes if role not in call.outputs | call.updates]
        kinds = ((plan.input, inputs), (plan.output, call.outputs), (plan.state, call.updates))
        return tuple({role: tensor(add, role) for role in roles} for add, roles in kinds)

    def result(self) -> dict[str, np.ndarray]:
        """Outputs and updates after one call on the values given."""
        self.session.run("once")
        return {role: self.session.read_floats(name) for role, name in self.written.items()}

    def sample(self) -> float:
        if not self.target.is_cuda:
            return self.target.seconds(lambda: self.session.run("run")) / self.rotation.repeats
        self.session.run("run")
        self.session.read("done")  # waits for the device
        return 1e-3 * self.session.phase_stats("run")["last_ms"] / self.rotation.repeats


class TorchData:
    """The sets of tensors that all variants in torch share, on the device, floats of dtype compute in ``dtype``."""

    def __init__(self, call: Call, values: Arrays, target: Target, sets: int):
        if target.threads:
            torch.set_num_threads(target.threads)
        self.dtype = torch.bfloat16 if target.is_cuda else torch.float32
        self.target, self.call, self.values = target, call, values
        first = self.fresh()
        others = ({role: tensor.clone() for role, tensor in first.items()} for _ in range(sets - 1))
        self.sets = [first, *others]

    def fresh(self) -> dict[str, Any]:
        return {role: self._tensor(role, array) for role, array in self.values.items()}

    def _tensor(self, role: str, array: np.ndarray) -> Any:
        tensor = torch.from_numpy(array).to(self.target.device, copy=True)
        return tensor.to(self.dtype) if self.call.dtypes[role] == "compute" else tensor


class TorchVariant:
    """``prepare(tensors)`` returns what one call does; a graph holds ``repeats`` of them, over all sets in turns."""

    def __init__(self, prepare: Callable[[dict[str, Any]], Callable[[], Any]], data: TorchData, rotation: Rotation):
        self.prepare, self.data, self.rotation = prepare, data, rotation
        with torch.inference_mode():
            calls = [prepare(tensors) for tensors in data.sets]
        self.calls = [calls[index % rotation.sets] for index in range(rotation.repeats)]
        self.graph: Any = None
        if data.target.is_cuda:
            self.graph = self._capture()

    def _run(self) -> None:
        with torch.inference_mode():
            for call in self.calls:
                call()

    def _capture(self) -> Any:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._run()  # libraries choose and compile at their first calls
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._run()
        return graph

    def result(self, output: str) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            made = self.prepare(self.data.fresh())()
        roles = made if isinstance(made, dict) else {output: made}
        return {role: tensor.float().cpu().numpy() for role, tensor in roles.items()}

    def sample(self) -> float:
        run = self.graph.replay if self.graph else self._run
        if not self.data.target.is_cuda:
            return self.data.target.seconds(run) / len(self.calls)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        return 1e-3 * begin.elapsed_time(end) / len(self.calls)


def launching(call: Call) -> Callable[[dict[str, Any]], Callable[[], Any]]:
    """The launching function of ``kernels/<op>.py`` as a variant's ``prepare``."""
    try:
        launch = getattr(importlib.import_module(f"penstock.kernels.{call.op}"), call.op)
    except ModuleNotFoundError:
        raise PenstockError(f"{call.op} has no Triton kernel") from None
    known = launch.__code__.co_varnames[: launch.__code__.co_argcount]
    attributes = {name: value for name, value in call.attributes.items() if name in known and name not in call.shapes}

    def prepare(tensors: dict[str, Any]) -> Callable[[], Any]:
        run = partial(launch, **tensors, **attributes)
        written = {role: tensors[role] for role in (*call.outputs, *call.updates)}

        def once() -> dict[str, Any]:
            run()
            return written

        return once

    return prepare
