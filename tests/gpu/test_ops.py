"""Every op through the engine on a device, in bf16, with the cases of tests/ops, against the float64 references.

The tests of tests/ops are collected here once more. Their `check_op` runs the op on the device instead and accepts what
tests/kernels/check.py accepts in bf16: twice the error of the same formula in plain bf16 torch, on the rounded values,
plus the case's atol; integers must be equal. The tests of ops that only copy, convert or decide compare for themselves
what `run_op` gives them, on values that bf16 holds. Tests of what the CPU backend alone does (its errors, its bits with
other threads) are left out. Shapes that a compiled kernel does not take are skipped, and say so.

PENSTOCK_OPS_DEVICE=cpu checks these tests themselves, on the CPU backend in float32, where there is no device.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from penstock.kernels import reference, reference_cache, reference_vae
from penstock.runtime.engine import Engine
from penstock.runtime.errors import PenstockError
from penstock.runtime.plan import PlanBuilder
from tests import helpers
from tests.kernels.check import Tensors, _rounded, check_kernel

DEVICE = os.environ.get("PENSTOCK_OPS_DEVICE", "cuda")
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32
CPU_ONLY = {"raises", "Engine"}  # what tests of the CPU backend alone use
# Whose tests compare what run_op gives them; elsewhere it is for the CPU backend.
EXACT = {"advance_frames", "motion_noise", "replicate_slots", "ring_queue"}
NO_CASES = {"coded_frames", "quantize_cache"}  # tests/kernels has their cases, on a device too


class EngineOp:
    """An op as a launch function of check_kernel: a plan of one op, run on the device."""

    def __init__(self, name: str, outputs: Mapping[str, Any], updates: Mapping[str, Any]):
        self.__name__ = name
        self.outputs, self.updates = outputs, updates

    def __call__(self, **arguments: Any) -> None:
        tensors = {role: value for role, value in arguments.items() if isinstance(value, torch.Tensor)}
        self.launch(tensors, {name: value for name, value in arguments.items() if name not in tensors})

    def launch(self, tensors: Tensors, attributes: Mapping[str, Any]) -> None:
        plan = PlanBuilder(self.__name__, {})
        roles: tuple[dict[str, Any], ...] = ({}, {}, {})
        for role, tensor in tensors.items():
            add = [plan.input, plan.output, plan.state][kind := 1 * (role in self.outputs) + 2 * (role in self.updates)]
            like = np.empty(0, np.float32) if tensor.is_floating_point() else tensor.cpu().numpy()
            roles[kind][role] = add(role, tuple(tensor.shape), dtype=helpers._dtype(self.__name__, role, like))
        with plan.phase("run"):
            plan.op(self.__name__, *roles, **attributes)
        try:
            self.run(Engine.create(plan.finish(), [], device=DEVICE), tensors)
        except PenstockError as error:
            if DEVICE == "cuda" and ("on a CUDA device" in str(error) or "was not compiled for" in str(error)):
                pytest.skip(str(error))
            raise

    def run(self, engine: Engine, tensors: Tensors) -> None:
        session = engine.session()
        for role, tensor in tensors.items():
            session._handle.write(role, tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        session.run("run")
        for role in (*self.outputs, *self.updates):
            values = torch.from_numpy(session.read(role))
            tensors[role].copy_(values.view(tensors[role].dtype))


def check_on_device(
    name: str,
    inputs: helpers.Arrays,
    outputs: Mapping[str, tuple[int, ...] | np.ndarray],
    updates: helpers.Arrays | None = None,
    expected: Callable[[Tensors], reference.Outputs] | None = None,
    atol: float = 5e-7,
    **attributes: int | float | str,
) -> helpers.Arrays:
    """Stands in for tests.helpers.check_op."""
    integers = {role: helpers._poison(role, like) for role, like in outputs.items() if isinstance(like, np.ndarray)}
    module = next(
        (module for module in (reference, reference_cache, reference_vae) if hasattr(module, name)), reference
    )
    call = expected or (lambda tensors: getattr(module, name)(**tensors, **attributes))

    def without_outputs(tensors: Tensors) -> reference.Outputs:
        return call({role: values for role, values in tensors.items() if role not in integers})

    floats = {role: shape for role, shape in outputs.items() if role not in integers}
    launch = EngineOp(name, outputs, updates or {})
    return check_kernel(launch, DTYPE, inputs, floats, {**(updates or {}), **integers}, without_outputs, atol,
                        **attributes)  # fmt: skip


def run_on_device(
    name: str,
    inputs: helpers.Arrays,
    outputs: Mapping[str, tuple[int, ...] | np.ndarray],
    updates: helpers.Arrays | None = None,
    threads: int = 1,
    **attributes: int | float | str,
) -> helpers.Arrays:
    """Stands in for tests.helpers.run_op."""
    poisoned = {role: helpers._poison(role, like) for role, like in outputs.items()}
    updates = updates or {}
    arrays = {**inputs, **poisoned, **updates}
    tensors = {role: _rounded(name, role, values, DTYPE).clone() for role, values in arrays.items()}
    EngineOp(name, poisoned, updates).launch(tensors, attributes)
    results = {role: tensors[role] for role in (*poisoned, *updates)}
    return {role: (v.float() if v.is_floating_point() else v).numpy() for role, v in results.items()}


@pytest.fixture(autouse=True)
def checked_on_the_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[request.function.__module__]
    for name, stand_in in (("check_op", check_on_device), ("run_op", run_on_device)):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, stand_in)


def names_used(function: FunctionType, module: ModuleType) -> set[str]:
    """Global names and attributes that a function and the functions of its module that it calls use."""
    used: set[str] = set()
    waiting = [function]
    while waiting:
        new = set(waiting.pop().__code__.co_names) - used
        used |= new
        waiting += [found for name in new if isinstance(found := vars(module).get(name), FunctionType)
                    and found.__module__ == module.__name__]  # fmt: skip
    return used


OPS = [path.stem.removeprefix("test_") for path in sorted(Path(__file__).parents[1].glob("ops/test_*.py"))]
COVERED = set()
for _op in OPS:
    _module = importlib.import_module(f"tests.ops.test_{_op}")
    for _name, _test in [entry for entry in vars(_module).items() if entry[0].startswith("test_")]:
        _used = names_used(_test, _module)
        if (_op in EXACT or ("check_op" in _used and "run_op" not in _used)) and not _used & CPU_ONLY:
            globals()[f"test_{_op}_{_name.removeprefix('test_')}"] = _test
            COVERED.add(_op)


def test_every_op_has_a_case_here() -> None:
    assert set(OPS) - COVERED == NO_CASES | {"philox"}
