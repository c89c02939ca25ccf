"""What commands share: results as text or JSON, byte counts, a progress bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any


def emit(result: Mapping[str, Any], as_json: bool, text: str) -> None:
    """Prints a command's result: one JSON object, or its text."""
    print(json.dumps(result, indent=2) if as_json else text)


def bytes_text(count: int) -> str:
    """1536 → "1.5 KiB"."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


class ProgressBar:
    """A byte progress bar on a terminal's stderr; silent elsewhere, or where tqdm is not installed."""

    def __init__(self, title: str):
        self._bar: Any = None
        self._title = title
        self._make: Callable[..., Any] | None = None
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm

                self._make = tqdm
            except ImportError:
                pass

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, total: int) -> None:
        """Bytes done so far of ``total``."""
        if self._make is None:
            return
        if self._bar is None:
            self._bar = self._make(total=total, unit="B", unit_scale=True, desc=self._title)
        self._bar.update(done - self._bar.n)
