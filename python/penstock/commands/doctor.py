"""Say what this installation and machine can do, and what is missing for what."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from penstock import __version__
from penstock.commands.output import bytes_text, emit

HELP = "say what works here and what is missing"

# Package → what needs it. The first two are the only requirements of the package itself.
LIBRARIES = {
    "numpy": "everything",
    "safetensors": "everything",
    "torch": "penstock convert on .pt and .pth files, and text encoders (penstock[text])",
    "transformers": "text encoders, that is prompts of models with real weights (penstock[text])",
    "tokenizers": "text encoders (penstock[text])",
    "av": "penstock run on video files and pictures (penstock[video])",
    "tqdm": "progress bars (penstock[video])",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _describe_cuda(system: dict[str, Any]) -> str:
    if not system["has_cuda_backend"]:
        return "no, not in this build"
    return "yes" if system["has_cuda_sources"] else "yes, without the kernels in CUDA C++: built without nvcc"


def run(options: argparse.Namespace) -> None:
    from penstock.runtime.engine import query_system

    system = query_system()
    libraries = {package: _version(package) for package in LIBRARIES}
    driver = system["cuda_driver_version"]
    gpu = f"{system['cuda_device_name']}, {bytes_text(system['cuda_memory_bytes'])}"
    lines = [
        f"penstock     {__version__}",
        f"python       {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"library      built by {system['compiler']}",
        f"cpu backend  yes: {system['cpu_threads']} threads, matrix products by {system['blas']}",
        f"cuda backend {_describe_cuda(system)}",
        f"cuda driver  {f'{driver // 1000}.{driver % 1000 // 10}' if driver else 'none'}",
        f"gpu          {gpu if system['cuda_device_name'] else 'none'}",
    ]
    if system["cuda_problem"]:
        lines.append(f"             {system['cuda_problem']}")
    lines += [
        f"{package:<12} {found or f'missing: needed for {LIBRARIES[package]}'}" for package, found in libraries.items()
    ]
    emit({"penstock": __version__, "python": platform.python_version(), "libraries": libraries, **system},
         options.json, "\n".join(lines))  # fmt: skip
