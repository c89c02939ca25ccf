"""What commands share: results as text or JSON, byte counts, a progress bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from penstock.run_video import RunReport


def emit(result: Mapping[str, Any], as_json: bool, text: str, file: TextIO | None = None) -> None:
    """Prints a command's result: one JSON object, or its text; to standard output by default."""
    print(json.dumps(result, indent=2) if as_json else text, file=file)


def say(line: str) -> None:
    """A line on stderr, above the progress bar if there is one."""
    make = _bar_maker()
    if make is None:
        print(line, file=sys.stderr)
    else:
        make.write(line, file=sys.stderr)


def bytes_text(count: int) -> str:
    """1536 → "1.5 KiB"."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def _bar_maker() -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


class ProgressBar:
    """A byte progress bar on a terminal's stderr; silent elsewhere, or where tqdm is not installed."""

    def __init__(self, title: str):
        self._bar: Any = None
        self._title = title
        self._make = _bar_maker()

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


class FrameBar:
    """Frames done, time left, frames a second, latency and milliseconds of each phase, on a terminal's stderr; else
    silent. One line of less than 80 characters, so without a bar."""

    def __init__(self, total: int | None):
        make = _bar_maker()
        progress = "{n_fmt}/{total_fmt} [-{remaining}]" if total else "{n_fmt} [{elapsed}]"
        line = f"{progress} {{rate_fmt}}{{postfix}}"
        settings = {"unit": " frames", "dynamic_ncols": True, "mininterval": 0, "miniters": 1}  # every chunk shows
        self._bar = make(total=total, bar_format=line, **settings) if make else None

    def __enter__(self) -> FrameBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, report: RunReport) -> None:
        if self._bar is None or report.frames_out == self._bar.n:
            return
        steady = {name: phase for name, phase in report.phases.items() if not name.endswith(("_first", "_prompt"))}
        phases = [f"{name} {phase['last_ms']:.0f}" for name, phase in (steady or report.phases).items()]
        latency = f"latency {1e3 * report.latency[-1]:.0f}, " if report.latency else ""
        self._bar.set_postfix_str(f"ms: {latency}{', '.join(phases)}", refresh=False)
        self._bar.update(report.frames_out - self._bar.n)
