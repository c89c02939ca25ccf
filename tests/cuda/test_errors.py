"""Asking for a CUDA device where there is none that can be used: one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

CASES = {
    "no driver": ({"driver": "/nonexistent/libcuda.so"}, "no CUDA driver (/nonexistent/libcuda.so not found)"),
    "not a driver": ({"driver": "libm.so.6"}, "the CUDA driver is too old: it lacks cuInit"),
    "no device": ({"MOCK_DEVICES": "0"}, "the CUDA driver reports no device"),
    "failing": ({"MOCK_INIT": "100"}, "cuInit failed with error 100"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_missing_is_said(run_with_driver: Callable, tmp_path: Path, name: str) -> None:
    settings, problem = CASES[name]
    report = json.loads(run_with_driver("-m", "penstock", "doctor", "--json", **settings).stdout)
    assert report["cuda_problem"] == problem
    command = ["run", "--prompt", "a", "--size", "32x32", "--device", "cuda", "-o", str(tmp_path / "out.mp4")]
    result = run_with_driver("-m", "penstock", *command, **settings)
    assert result.returncode == 1
    assert result.stderr == f"penstock: error: device cuda: {problem}\n"


def test_unsupported_architecture(run_with_driver: Callable, tmp_path: Path) -> None:
    command = ["run", "--prompt", "a", "--size", "32x32", "--device", "cuda", "-o", str(tmp_path / "out.mp4")]
    result = run_with_driver("-m", "penstock", *command, MOCK_ARCHITECTURE="30")
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "device cuda: this build has no kernels for sm_30; it has" in result.stderr


def test_the_driver_is_described(run_with_driver: Callable) -> None:
    report = json.loads(run_with_driver("-m", "penstock", "doctor", "--json").stdout)
    assert (report["cuda_device_name"], report["cuda_driver_version"], report["cuda_device_count"]) == (
        "Mock GPU", 13000, 1)  # fmt: skip
