"""Kernels in CUDA C++, compiled by nvcc where there is one: those for which Triton is not enough.

Their sources lie in csrc/, beside the op that launches them, and are not part of an installed package: they are
compiled when penstock is built from its source tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "csrc"


@dataclass(frozen=True)
class CudaVariant:
    """One compiled form of a kernel in CUDA C++.

    name: of the kernel and of its function. source: its file below csrc/. The fields that a Triton kernel's Variant has
    as well mean the same; types also has "tensormap", a TMA tensor by value. shared: bytes of dynamic shared memory.
    The source sees constants and shared as macros, PENSTOCK_<NAME> and PENSTOCK_SHARED, and asserts that they hold.
    """

    name: str
    source: str
    types: Mapping[str, str]
    constants: Mapping[str, int]
    shared: int
    divisible: tuple[str, ...] = ()
    warps: int = 4
    needs: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()


def find_nvcc() -> str | None:
    """The compiler: PENSTOCK_NVCC (empty for none), or what PATH and CUDA's usual place have."""
    chosen = os.environ.get("PENSTOCK_NVCC")
    if chosen is not None:
        return chosen or None
    return shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")


def obstacle() -> str | None:
    """Why kernels in CUDA C++ cannot be compiled here; None if they can."""
    if not SOURCES.is_dir():
        return "their sources are not in an installed package"
    return None if find_nvcc() else "nvcc not found"


def compile_cuda(variant: CudaVariant, arch: str) -> bytes:
    """The cubin. Fails with the compiler's words, and with how to build without it."""
    macros = {**variant.constants, "SHARED": variant.shared, "WARPS": variant.warps}
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        command = [str(find_nvcc()), "-std=c++17", "-O3", "-cubin", "-o", str(cubin)]
        command += [f"-gencode=arch=compute_{arch},code=sm_{arch}", "-I.", variant.source]
        command += [f"-DPENSTOCK_{name}={value}" for name, value in macros.items()]
        done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True)
        if done.returncode:
            problem = (done.stderr or done.stdout).strip()
            raise RuntimeError(f"nvcc failed (PENSTOCK_NVCC= builds without it):\n{problem}")
        return cubin.read_bytes()
