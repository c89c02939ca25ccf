"""C++ hosts on the CUDA backend, over the mock driver: frames that stay in device memory, cancel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.engine import query_system
from penstock.runtime.synth import synth
from tests.embed.conftest import PACKAGE, STRICT

pytestmark = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")


@pytest.fixture(scope="module")
def run_host(mock_driver: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], None]:
    """run_host("device_frames.cpp"): compiled, and run with an engine directory; it must end well."""
    folder = tmp_path_factory.mktemp("host")
    synth("tiny", folder / "model")
    build(folder / "model", folder / "engine", Config(height=64, width=96, steps=1))

    def run(source: str) -> None:
        program = folder / Path(source).stem
        libraries = ["-I", PACKAGE / "include", "-L", PACKAGE / "lib", "-lpenstock", f"-Wl,-rpath,{PACKAGE / 'lib'}",
                     mock_driver, f"-Wl,-rpath,{mock_driver.parent}", "-pthread"]  # fmt: skip
        path = Path(__file__).with_name(source)
        subprocess.run(["c++", "-std=c++17", *STRICT, path, "-o", program, *libraries], check=True)
        driver = {"PENSTOCK_CUDA_DRIVER": str(mock_driver), "PENSTOCK_CUBLASLT": str(mock_driver)}
        result = subprocess.run(
            [program, folder / "engine"], env={**os.environ, **driver}, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout + result.stderr

    return run


@pytest.mark.parametrize("source", ["device_frames.cpp", "cancel.cpp"])
def test_host(run_host: Callable[[str], None], source: str) -> None:
    run_host(source)
