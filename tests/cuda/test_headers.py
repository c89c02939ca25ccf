"""What the engine declares of the CUDA driver and of cuBLASLt, against their headers, where those are installed."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def include_folders() -> list[Path]:
    """Of the CUDA toolkit and of Python packages: nvidia-cublas and nvidia-cuda-runtime, and triton, which has cuda.h."""
    nvcc = shutil.which("nvcc")
    folders = [Path(nvcc).resolve().parents[1] / "include"] if nvcc else []
    folders += sorted(Path("/usr/local").glob("cuda*/include"))
    for package, inner in (("nvidia", "cu13/include"), ("triton", "backends/nvidia/include")):
        spec = find_spec(package)
        folders += [Path(place) / inner for place in (spec and spec.submodule_search_locations) or ()]
    return [folder for folder in folders if folder.is_dir()]


@pytest.mark.parametrize(("source", "header"), [("driver_header.cpp", "cuda.h"), ("cublaslt_header.cpp", "cublasLt.h")])
def test_declarations(source: str, header: str) -> None:
    folders = include_folders()
    if not any((folder / header).is_file() for folder in folders):
        pytest.skip(f"there is no {header} here")
    includes = [part for folder in (ROOT / "csrc", *folders) for part in ("-I", folder)]
    command = ["c++", "-std=c++17", "-fsyntax-only", *includes, Path(__file__).with_name(source)]
    result = subprocess.run(command, text=True, capture_output=True)
    assert result.returncode == 0, result.stderr
