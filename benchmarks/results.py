"""Result files: one JSON per run, with everything that a figure needs to be believed. One schema for all benchmarks.

    {"format": "penstock-benchmark", "version": 1,
     "set":      "ops" or "end_to_end",
     "device":   "cpu" or "cuda",
     "machine":  see machine.py: GPU, driver, CPU, versions, commit,
     "clocks":   lowest and highest seen meanwhile: {"sm_mhz": [low, high], ...}; empty without a GPU,
     "notes":    what a reader must know to judge the figures, lines of text,
     "passes":   how often the set was measured; every metric covers all of them,
     "peaks":    {"copy_bytes_per_s": measure, "matrix_flop_per_s": measure, "fp8_flop_per_s": measure},
     "rows":     [{"id": unique in the file, "kind": "op" or "stream",
                   "metrics": {name: {"value": median, "low": .., "high": .., "rounds": ..}}, ...}],
     "skipped":  {what: why}}

A row of kind "op" also has op, shape, call, implementation, ours, count (of such calls in the shape's phases), flops,
matrix_flops, bytes, floor_us, relative_l2 from the first baseline, repeats (calls per sample), and the metric "us".
A row of kind "stream" has model, size, steps, mode, encoder, decoder, cache_policy, precision, schedule, chunks,
floor_ms by phase, and the metrics that end_to_end.py lists. All metrics are better when lower, except those whose name
ends in "fps".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from penstock.runtime.errors import PenstockError, os_errors_as_penstock, parse_json_object

from .machine import ClockMonitor, describe_machine
from .peaks import MeasuredPeaks, measure_peaks
from .timing import Measure
from .variants import Target

FORMAT, VERSION = "penstock-benchmark", 1
REST = "the rest"  # skipped by a run that was interrupted
RESULTS = Path(__file__).resolve().parent / "results"
Row = dict[str, Any]


@dataclass
class Results:
    """One run. ``rows`` and the rest are as in the file."""

    set: str
    device: str
    machine: dict[str, Any]
    rows: list[Row]
    passes: int = 1
    clocks: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    peaks: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The machine in a few words."""
        return self.machine["gpu" if self.device == "cuda" else "cpu"]

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    def to_text(self) -> str:
        """The file's text, one line per row, so that changes of a row are changes of a line."""
        head = json.dumps({**self.to_json(), "rows": []}, indent=1)
        rows = ",\n".join(f"  {json.dumps(row)}" for row in self.rows)
        return head.replace('"rows": []', f'"rows": [\n{rows}\n ]' if rows else '"rows": []', 1) + "\n"

    def save(self, path: Path) -> None:
        with os_errors_as_penstock(path, "write the results"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.to_text(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Reads a result file; PenstockError if it is none."""
        with os_errors_as_penstock(path, "read the results"):
            record = parse_json_object(Path(path).read_bytes(), str(path))
        if (record.pop("format", None), record.pop("version", None)) != (FORMAT, VERSION):
            raise PenstockError(f'{path}: expected a result file ("format": "{FORMAT}", "version": {VERSION})')
        try:
            found = cls(**record)
            found.machine.get("commit")
            for row in found.rows:
                str(row["id"])
                metrics_of(row)
        except (TypeError, KeyError, AttributeError) as error:
            raise PenstockError(f"{path}: malformed result file: {type(error).__name__}: {error}") from None
        return found


def metrics_of(row: Row) -> dict[str, Measure]:
    return {name: Measure.from_json(record) for name, record in row["metrics"].items()}


def merge_passes(passes: Sequence[list[Row]]) -> list[Row]:
    """One row per id that every pass has, its metrics over all passes."""
    by_id = [{row["id"]: row for row in rows} for rows in passes]
    merged = []
    for row in passes[0]:
        same = [rows[row["id"]] for rows in by_id if row["id"] in rows]
        if len(same) == len(passes):
            metrics = [metrics_of(other) for other in same]
            names = [name for name in metrics[0] if all(name in other for other in metrics)]
            over = {name: Measure.over([other[name] for other in metrics]).to_json() for name in names}
            merged.append({**row, "metrics": over})
    return merged


def run_set(
    name: str, target: Target, passes: int, measure: Callable[[MeasuredPeaks], tuple[list[Row], dict[str, str]]],
    notes: Sequence[str] = (),
) -> Results:  # fmt: skip
    """Measures peaks, then the set ``passes`` times, or until it is interrupted, while the clocks are watched."""
    with ClockMonitor() as monitor:
        peaks = measure_peaks(target)
        made = [measure(peaks)]
        while len(made) < passes and REST not in made[-1][1]:
            made.append(measure(peaks))
    skipped = {what: why for _, entries in made for what, why in entries.items()}
    rows = merge_passes([rows for rows, _ in made])
    return Results(name, target.device, describe_machine(), rows, len(made), monitor.seen, list(notes), peaks.to_json(),
                   skipped)  # fmt: skip
