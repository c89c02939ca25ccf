"""Result files: one JSON per benchmark, with everything that a figure needs to be believed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from penstock.runtime.engine import query_system

RESULTS = Path(__file__).parent / "results"
STATUS = (
    "status",
    "--porcelain",
    "-uno",
    "--",
    ":/",
    ":(top,exclude)benchmarks/results",
)  # results do not make it dirty


def record(name: str, rows: list[dict[str, Any]]) -> None:
    """Writes benchmarks/results/NAME.json: the rows, and on what they were measured."""
    system = query_system()
    machine = {
        "cpu": _cpu_name(),
        "threads": len(os.sched_getaffinity(0)),
        "gpu": system["cuda_device_name"] or None,
        "cuda_driver": system["cuda_driver_version"] or None,
        "blas": system["blas"],
        "compiler": system["compiler"],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "commit": _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if _git(*STATUS) else ""),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True)
    return result.stdout.strip()


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
