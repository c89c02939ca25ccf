"""The engine launches every kernel as the launching function of its module does, which tests/kernels checks by results.

So parameters in a wrong order, a grid too small or a number of warps that the code was not compiled for would show
without a device. Over the mock driver, for every call that the plans of a small model make.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.benchmarks.op_benchmark import known_ops
from penstock.runtime.engine import query_system

from .test_stream_on_mock import CASES, SIZE

pytestmark = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")


def test_launches_are_those_of_the_modules(run_with_driver: Callable, mock_driver: Path) -> None:
    script = Path(__file__).with_name("launches_on_mock.py")
    configs = [case for case in CASES.values() if "width_of" not in case]
    configs.append({**SIZE, "steps": 2, "precision": "fp8_attention"})
    result = run_with_driver(str(script), str(mock_driver), json.dumps(configs))
    assert result.returncode == 0, result.stderr
    calls = [json.loads(line) for line in result.stdout.splitlines()]
    assert {call["op"] for call, *_ in calls} == set(known_ops()) - {"gemm"}
    for call, absent, engine, module in calls:
        for ours, theirs in zip(engine, module, strict=True):
            assert ours[:3] == theirs[:3], f"{call}: kernel, grid or threads"
            for (name, value), (other, expected) in zip(*(launch[3] for launch in (ours, theirs)), strict=True):
                # What stands for an absent role is not read, whatever it is.
                is_absent = any(name == role or name.startswith(f"{role}_") for role in absent)
                assert name == other and (is_absent or value == expected), f"{call}: {ours[0]}: {name}"
