"""Asking for a CUDA device where there is none that can be used: one clear line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.runtime.engine import query_system

needs_kernels = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")

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
    assert report["cuda_memory_bytes"] == 2 << 30
    assert "gpu          Mock GPU, " in run_with_driver("-m", "penstock", "doctor").stdout


FAILURES = {
    "launch": ("cuGraphLaunch 9", "latency"),
    "upload": ("cuMemcpyHtoDAsync 30", "latency"),
    "download": ("cuMemcpyDtoHAsync 3", "latency"),
    "order": ("cuStreamWaitEvent 9", "throughput"),
    "late download": ("cuEventSynchronize 3", "throughput"),
    "creation": ("cuStreamBeginCapture 3", "latency"),
}


@needs_kernels
@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_device_is_refused_and_let_go(run_with_driver: Callable, mock_driver: Path, name: str) -> None:
    """One clear line from every later call of the session and the engine, no crash, and nothing is left behind."""
    failing, schedule = FAILURES[name]
    script = Path(__file__).with_name("fail_on_mock.py")
    result = run_with_driver(str(script), str(mock_driver), schedule, failing)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    call = failing.split()[0]
    assert re.fullmatch(rf"CUDA: {call}(_v2)? failed: mock error \(700\)", seen["first"]), seen["first"]
    later = seen["later"]
    assert later.keys() >= {"session"} if name == "creation" else later.keys() >= {"push", "flush", "reset", "switch"}
    for what, message in later.items():
        assert message.count("\n") == 0 and "mock error (700)" in message, f"{what}: {message}"
        assert "device cuda failed earlier" in message or "the session cannot go on" in message, f"{what}: {message}"
    assert seen["left"] == {"live handles": 0, "live allocations": 0}


@needs_kernels
def test_too_little_memory_says_what_is_needed(run_with_driver: Callable, tmp_path: Path) -> None:
    command = ["run", "--prompt", "a", "--size", "480x832", "--device", "cuda", "-o", str(tmp_path / "out.mp4")]
    for limit, purpose in (
        ("9", "the workspace of"),
        ("34", "weights"),
        ("90", "a session of [0-9]+ bytes \\([0-9]+ of the stream's state, "),
    ):
        result = run_with_driver("-m", "penstock", *command, MOCK_MEMORY_MIB=limit)
        assert result.returncode == 1 and result.stderr.count("\n") == 1
        line = f"device cuda: not enough memory for {purpose}.*: needs [0-9]+ bytes, 1073741824 of 2147483648 are free"
        assert re.search(line, result.stderr), result.stderr
