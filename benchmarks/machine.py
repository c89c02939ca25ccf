"""On what something was measured: hardware, driver, versions, commit, and the clocks that the GPU had meanwhile."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
from pathlib import Path
from typing import Any

from penstock.runtime.engine import query_system

from .libraries import versions

_REPOSITORY = Path(__file__).resolve().parent.parent
# Results do not make a working tree dirty.
_STATUS = ("status", "--porcelain", "-uno", "--", ":/", ":(top,exclude)benchmarks/results")
_CLOCKS = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw")
_UNITS = {"clocks.sm": "sm_mhz", "clocks.mem": "memory_mhz", "temperature.gpu": "celsius", "power.draw": "watt"}


def describe_machine() -> dict[str, Any]:
    system = query_system()
    driver = system["cuda_driver_version"]
    return {
        "gpu": system["cuda_device_name"] or None,
        "driver": _nvidia_smi("driver_version") if system["cuda_device_count"] else None,
        "cuda": f"{driver // 1000}.{driver % 1000 // 10}" if driver else None,
        "cpu": _cpu_name(),
        "threads": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "blas": system["blas"],
        "compiler": system["compiler"],
        "python": platform.python_version(),
        "versions": versions(),
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit of the checkout that this runs from, ``-dirty`` if it was changed.

    Outside of one, as in a copy on a machine with a GPU: what PENSTOCK_COMMIT says, or None.
    """
    if _git("rev-parse", "--show-toplevel") != str(_REPOSITORY):
        return os.environ.get("PENSTOCK_COMMIT") or None
    return f"{_git('rev-parse', '--short=12', 'HEAD')}{'-dirty' if _git(*_STATUS) else ''}"


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", *arguments], cwd=_REPOSITORY, capture_output=True, text=True)
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _nvidia_smi(field: str) -> str | None:
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


class ClockMonitor:
    """Watches clocks, temperature and power of the first GPU while it is open, every 0.2 s, through nvidia-smi.

    ``seen`` has the lowest and highest value of each; it is empty where there is no nvidia-smi.
    """

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ClockMonitor:
        command = ["nvidia-smi", f"--query-gpu={','.join(_CLOCKS)}", "--format=csv,noheader,nounits", "--id=0", "-lms",
                   "200"]  # fmt: skip
        try:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            return self
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None or self._thread is None:
            return
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        self._process.stdout.close()  # type: ignore[union-attr]

    def _read(self) -> None:
        for line in self._process.stdout:  # type: ignore[union-attr]
            for field, text in zip(_CLOCKS, line.split(","), strict=False):
                try:
                    value = float(text)
                except ValueError:  # "[N/A]"
                    continue
                low, high = self.seen.get(_UNITS[field], (value, value))
                self.seen[_UNITS[field]] = [min(low, value), max(high, value)]
