"""A C++ host whose frames stay in device memory, over the mock driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.engine import query_system
from penstock.runtime.synth import synth

pytestmark = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")


def test_device_frames(run_on_mock: Callable, tmp_path: Path) -> None:
    synth("tiny", tmp_path / "model")
    build(tmp_path / "model", tmp_path / "engine", Config(height=64, width=96, steps=1))
    result = run_on_mock("device_frames.cpp", tmp_path / "engine")
    assert result.returncode == 0, result.stdout + result.stderr
