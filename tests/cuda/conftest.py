"""A CUDA driver without a device, and the kernels for Hopper on emulated threads, compiled for the tests."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.embed.conftest import PACKAGE, STRICT

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def mock_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("mock") / "libmock.so"
    sources = sorted(Path(__file__).with_name("mock").glob("*.cpp"))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["c++", *flags, *sources, "-o", library], check=True)
    return library


@pytest.fixture
def run_with_driver(mock_driver: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """run("-m", "penstock", ..., MOCK_DEVICES="0") → the finished Python process, with the mock as its driver.

    It can import ``tests``, too.
    """

    def run(*arguments: str, driver: Path | str = mock_driver, **settings: str) -> subprocess.CompletedProcess[str]:
        places = {
            "PENSTOCK_CUDA_DRIVER": str(driver),
            "PENSTOCK_CUBLASLT": str(mock_driver),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        return subprocess.run([sys.executable, *arguments], env={**os.environ, **places, **settings}, text=True,
                              capture_output=True)  # fmt: skip

    return run


@pytest.fixture(scope="session")
def run_on_mock(mock_driver: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """run_on_mock("device_frames.cpp", ..., MOCK_DEVICES="0") → the finished C++ host of that source beside this file.

    Hosts are compiled against the installed package once, and linked with the mock, too.
    """
    folder = tmp_path_factory.mktemp("hosts")

    def run(source: str, *arguments: Path | str, **settings: str) -> subprocess.CompletedProcess[str]:
        program = folder / Path(source).stem
        if not program.exists():
            libraries = ["-I", PACKAGE / "include", "-L", PACKAGE / "lib", "-lpenstock", mock_driver, "-pthread",
                         *(f"-Wl,-rpath,{path}" for path in (PACKAGE / "lib", mock_driver.parent))]  # fmt: skip
            path = Path(__file__).with_name(source)
            subprocess.run(["c++", "-std=c++17", *STRICT, path, "-o", program, *libraries], check=True)
        driver = {"PENSTOCK_CUDA_DRIVER": str(mock_driver), "PENSTOCK_CUBLASLT": str(mock_driver)}
        environment = {**os.environ, **driver, **settings}
        return subprocess.run([program, *arguments], env=environment, text=True, capture_output=True)

    return run


class ConvLayer(ctypes.Structure):
    """penstock::conv::Layer."""

    _fields_ = tuple(
        (name, ctypes.c_int)
        for name in ("frames", "height", "width", "inputs", "outputs", "kernel_time", "kernel_height", "kernel_width",
                     "stride", "upsample", "time_stride", "interleave")
    )  # fmt: skip


class AttentionShape(ctypes.Structure):
    """penstock::attention::Shape."""

    _fields_ = tuple((name, ctypes.c_int) for name in ("slots", "queries", "capacity", "frame_tokens", "heads"))


@pytest.fixture(scope="session")
def attention(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions of emulation/rolling_attention.cpp."""
    loaded = compile_emulation(tmp_path_factory.mktemp("emulation"), "rolling_attention")
    loaded.emulate_rolling_attention.restype = ctypes.c_char_p
    loaded.choose_implementation.restype = ctypes.c_char_p
    loaded.descriptor_of.restype = ctypes.c_uint64
    return loaded


@pytest.fixture(scope="session")
def convolution(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions of emulation/causal_conv3d.cpp."""
    loaded = compile_emulation(tmp_path_factory.mktemp("emulation"), "causal_conv3d")
    loaded.emulate_causal_conv3d.restype = ctypes.c_char_p
    loaded.choose_convolution.restype = ctypes.c_char_p
    return loaded


def compile_emulation(place: Path, name: str) -> ctypes.CDLL:
    """A kernel's source for emulated threads, with the functions that run it."""
    folder = Path(__file__).with_name("emulation")
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-psabi", "-shared"]
    paths = ["-I", folder, "-I", folder.parents[2] / "csrc", "-include", folder / "device.h"]
    sources = [folder / "device.cpp", folder / f"{name}.cpp"]
    subprocess.run(["c++", *flags, "-fPIC", *paths, *sources, "-o", place / f"lib{name}.so"], check=True)
    return ctypes.CDLL(str(place / f"lib{name}.so"))
