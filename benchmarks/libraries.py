"""The libraries that ops are compared with; each is optional, and None where it is missing.

``why_missing`` says why one cannot be used here, in the words of the report.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

# Module → the package that it comes from.
PACKAGES = {"torch": "torch", "triton": "triton", "flash_attn_interface": "flash-attn-3", "flashinfer": "flashinfer"}


def _find(module: str) -> ModuleType | None:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError):  # a library of a package may be missing, too
        return None


torch: Any = _find("torch")
functional: Any = torch.nn.functional if torch else None


def find(module: str) -> Any:
    """The module, or None; the heavy ones are imported when they are asked for."""
    return torch if module == "torch" else _find(module)


def why_missing(module: str, device: str) -> str | None:
    """Why a library cannot be measured on a device; None if it can."""
    if find(module) is None:
        return f"{PACKAGES[module]} is not installed"
    if device == "cuda" and not torch.cuda.is_available():
        return "torch finds no NVIDIA device"
    return None if device == "cuda" or module == "torch" else f"{PACKAGES[module]} needs an NVIDIA device"


def versions() -> dict[str, str | None]:
    """Installed versions, for result files."""
    found: dict[str, str | None] = {}
    for package in ("numpy", *PACKAGES.values()):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if torch is not None and torch.backends.cudnn.is_available():
        found["cudnn"] = str(torch.backends.cudnn.version())
    return found
