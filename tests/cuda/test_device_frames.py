"""A C++ host whose frames stay in device memory, over the mock driver."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.engine import query_system
from penstock.runtime.synth import synth
from tests.embed.conftest import PACKAGE, STRICT

pytestmark = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")


def test_device_frames(mock_driver: Path, tmp_path: Path) -> None:
    synth("tiny", tmp_path / "model")
    build(tmp_path / "model", tmp_path / "engine", Config(height=64, width=96, steps=1))
    program = tmp_path / "device_frames"
    libraries = ["-I", PACKAGE / "include", "-L", PACKAGE / "lib", "-lpenstock", f"-Wl,-rpath,{PACKAGE / 'lib'}",
                 mock_driver, f"-Wl,-rpath,{mock_driver.parent}", "-pthread"]  # fmt: skip
    source = Path(__file__).with_name("device_frames.cpp")
    subprocess.run(["c++", "-std=c++17", *STRICT, source, "-o", program, *libraries], check=True)
    driver = {"PENSTOCK_CUDA_DRIVER": str(mock_driver), "PENSTOCK_CUBLASLT": str(mock_driver)}
    result = subprocess.run(
        [program, tmp_path / "engine"], env={**os.environ, **driver}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
