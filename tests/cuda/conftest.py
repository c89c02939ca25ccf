"""A CUDA driver without a device, compiled for the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mock_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("mock") / "libmock.so"
    source = Path(__file__).with_name("mock_driver.cpp")
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["c++", *flags, source, "-o", library], check=True)
    return library


@pytest.fixture
def run_with_driver(mock_driver: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """run("-m", "penstock", ..., MOCK_DEVICES="0") → the finished Python process, with the mock as its driver."""

    def run(*arguments: str, driver: Path | str = mock_driver, **settings: str) -> subprocess.CompletedProcess[str]:
        libraries = {"PENSTOCK_CUDA_DRIVER": str(driver), "PENSTOCK_CUBLASLT": str(mock_driver)}
        return subprocess.run([sys.executable, *arguments], env={**os.environ, **libraries, **settings}, text=True,
                              capture_output=True)  # fmt: skip

    return run
