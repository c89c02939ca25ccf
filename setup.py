"""Builds libpenstock and the Python module with CMake and ninja, and places them inside the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pybind11
from setuptools import Extension, find_namespace_packages, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def compile_kernels() -> Path | None:
    """The file of CUDA kernels for the architectures in PENSTOCK_CUDA_ARCHS (default 90a; empty for none)."""
    architectures = os.environ.get("PENSTOCK_CUDA_ARCHS", "90a").split()
    missing = [package for package in ("triton", "numpy", "safetensors") if find_spec(package) is None]
    if not architectures or missing:
        why = f"{', '.join(missing)} not installed" if missing else "PENSTOCK_CUDA_ARCHS is empty"
        print(f"penstock: no CUDA kernels in this build ({why})")
        return None
    bundle = ROOT / "build" / "kernels.safetensors"
    bundle.parent.mkdir(exist_ok=True)
    # Triton finds its results of earlier builds in its cache.
    command = [sys.executable, "-m", "kernels.aot", "-o", bundle, "--arch", *architectures]
    subprocess.run(command, cwd=ROOT, check=True)
    return bundle


class CMakeBuild(build_ext):
    """One CMake build per interpreter under build/, installed into penstock/{lib,include} and penstock/_engine*.so."""

    def build_extension(self, extension: Extension) -> None:
        package = Path(self.get_ext_fullpath(extension.name)).resolve().parent
        # An editable install copies back only the module; the library and the header must be beside it.
        targets = [package, ROOT / "python" / "penstock"] if self.editable_mode else [package]
        build = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"
        configure = [
            "-DCMAKE_INSTALL_LIBDIR=lib",
            "-DCMAKE_INSTALL_INCLUDEDIR=include",
            "-DPENSTOCK_PYTHON_MODULE=ON",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            # An isolated build's ninja is gone at the next build, which must not find its path in CMake's cache.
            f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}",
        ]
        if bundle := compile_kernels():
            configure.append(f"-DPENSTOCK_KERNEL_BUNDLE={bundle}")
        extra = os.environ.get("PENSTOCK_CMAKE_ARGS", "").split()
        subprocess.run(["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", *configure, *extra], check=True)
        subprocess.run(["cmake", "--build", build], check=True)
        for target in targets:
            subprocess.run(["cmake", "--install", build, "--strip", "--prefix", target], check=True)


# Folders of the repository that install as subpackages.
SUBPACKAGES = {"penstock.runtime": "runtime", "penstock.kernels": "kernels", "penstock.benchmarks": "benchmarks"}
# Folders of data count as packages, or setuptools warns that they could be imported.
packages = find_packages("python") + find_namespace_packages("python", include=["penstock.weights*"])
for name, folder in SUBPACKAGES.items():
    packages += [name, *(f"{name}.{package}" for package in find_packages(folder))]

setup(
    packages=packages,
    package_dir={"penstock": "python/penstock", **SUBPACKAGES},
    ext_modules=[Extension("penstock._engine", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
