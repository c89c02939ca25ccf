"""C++ hosts on the CUDA backend, over the mock driver: frames that stay in device memory, cancel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.engine import query_system
from penstock.runtime.synth import synth

pytestmark = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    synth("tiny", folder / "model")
    build(folder / "model", folder / "engine", Config(height=64, width=96, steps=1))
    return folder / "engine"


@pytest.mark.parametrize("source", ["device_frames.cpp", "cancel.cpp"])
def test_host(run_on_mock: Callable, engine: Path, source: str) -> None:
    result = run_on_mock(source, engine)
    assert result.returncode == 0, result.stdout + result.stderr
