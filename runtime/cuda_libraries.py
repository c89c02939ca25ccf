"""Where Python packages keep the CUDA libraries that the engine loads at run time."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

VARIABLE = "PENSTOCK_CUBLASLT"  # read by csrc/engine/cuda/blas_lt.cpp
_PLACES = ("cu13/lib/libcublasLt.so.13", "cublas/lib/libcublasLt.so.13")  # in the namespace package nvidia


def point_to_cublaslt() -> None:
    """Tells the engine of the cuBLASLt that the package nvidia-cublas brought, unless the user named one."""
    if VARIABLE in os.environ:
        return
    spec = find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else None
    for place in (Path(folder) / name for folder in folders or () for name in _PLACES):
        if place.is_file():
            os.environ[VARIABLE] = str(place)
            return
