"""Rows of results as tables: for a terminal, and in markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .peaks import MeasuredPeaks
from .published import Published
from .results import Results, Row, metrics_of
from .timing import Measure

OP_HEADERS = ("op", "call", "implementation", "µs", "±", "rate", "% of floor", "× best library")
STREAM_HEADERS = ("stream", "FPS", "±", "encode + denoise + decode", "% of floor", "p50 / p99", "first frame",
                  "cold start", "memory")  # fmt: skip


@dataclass(frozen=True)
class OpFigures:
    """What follows from one op row and those beside it.

    rate: TFLOP/s where the floor is that of the matrix products, else GB/s. times_best: time of the fastest library
    over this time, above 1 is faster; None for libraries and where there is none.
    """

    us: Measure
    rate: str
    floor_share: float
    times_best: float | None

    @classmethod
    def of(cls, row: Row, beside: Sequence[Row], peaks: MeasuredPeaks) -> OpFigures:
        us = metrics_of(row)["us"]
        seconds, floors = 1e-6 * us.value, peaks.for_floors
        compute_bound = row["matrix_flops"] / floors.flops > row["bytes"] / floors.bandwidth
        rate = rate_text(row["flops" if compute_bound else "bytes"] / seconds, "FLOP/s" if compute_bound else "B/s")
        libraries = [metrics_of(other)["us"].value for other in beside if not other["ours"]]
        best = min(libraries) / us.value if libraries and row["ours"] else None
        return cls(us, rate, row["floor_us"] / us.value if us.value else 0.0, best)


def rate_text(rate: float, unit: str) -> str:
    """1.23e12, "FLOP/s" → "1.23 TFLOP/s"; bytes in GB/s."""
    scale, prefix = (1e12, "T") if rate >= 1e12 and unit != "B/s" else (1e9, "G")
    return f"{rate / scale:.3g} {prefix}{unit}"


def op_cells(results: Results, rows: Sequence[Row] | None = None) -> list[tuple[str, ...]]:
    """The cells of :data:`OP_HEADERS` for op rows; those of one call are neighbours."""
    peaks = MeasuredPeaks.from_json(results.peaks)
    cells = []
    for row in results.rows if rows is None else rows:
        beside = [other for other in results.rows if other["id"].rpartition("/")[0] == row["id"].rpartition("/")[0]]
        figures = OpFigures.of(row, beside, peaks)
        best = f"{figures.times_best:.2f}" if figures.times_best else ""
        cells.append((row["op"], f"{row['shape']} {row['call']}", row["implementation"], f"{figures.us.value:.4g}",
                      f"{figures.us.noise:.1%}", figures.rate, f"{100 * figures.floor_share:.0f}", best))  # fmt: skip
    return cells


def stream_table(results: Results, beside: Published | None = None) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Headers and cells of stream rows, with a column for another program if there is one."""
    if beside is None:
        return STREAM_HEADERS, [_stream_row(row) for row in results.rows]
    cells = []
    for row in results.rows:
        theirs = beside.fps.get(row["id"])
        times = f"{metrics_of(row)['fps'].value / theirs:.2f} ({theirs:.4g})" if theirs else ""
        cells.append((*_stream_row(row), times))
    return (*STREAM_HEADERS, f"× {beside.program}, {beside.machine} (FPS)"), cells


def _stream_row(row: Row) -> tuple[str, ...]:
    metrics = metrics_of(row)
    phases = [f"{metrics[f'{phase}_ms'].value:.4g}" for phase in row["floor_ms"]]
    floor, chunk = sum(row["floor_ms"].values()), metrics["chunk_p50_ms"].value
    cold_start = f"{metrics['cold_start_s'].value:.3g} s" if "cold_start_s" in metrics else ""
    return (
        row["id"], f"{metrics['fps'].value:.4g}", f"{metrics['fps'].noise:.1%}", f"{' + '.join(phases)} ms",
        f"{100 * floor / chunk:.0f}", f"{chunk:.4g} / {metrics['chunk_p99_ms'].value:.4g} ms",
        f"{metrics['first_frames_s'].value:.3g} s", cold_start,
        f"{metrics['memory_bytes'].value / 2**30:.2f} GiB",
    )  # fmt: skip


def text_table(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (headers, *cells)) for column in range(len(headers))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (headers, *cells))
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(headers: Sequence[str], cells: Sequence[Sequence[str]], numbers_from: int = 1) -> str:
    """Columns from ``numbers_from`` on are aligned to the right."""
    rules = ["---" if column < numbers_from else "--:" for column in range(len(headers))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headers, rules, *cells))


def results_text(results: Results, beside: Published | None = None) -> str:
    """The table of a run, what it was measured on, and what was skipped."""
    headers, cells = stream_table(results, beside) if results.set == "end_to_end" else (OP_HEADERS, op_cells(results))
    return "\n".join([text_table(headers, cells) if cells else "nothing was measured", "", *facts(results)])


def facts(results: Results) -> list[str]:
    """Lines about a run: machine, peaks, notes, and what was skipped and why."""
    machine = results.machine
    passes = "1 pass" if results.passes == 1 else f"{results.passes} passes"
    lines = [f"on          {results.title}, commit {machine['commit']}, {passes}"]
    if results.device == "cpu":
        lines.append(f"threads     {machine['threads']} cores, load {machine['load']}, {machine['blas']}")
    else:
        lines.append(f"driver      {machine['driver']}, clocks and power seen {results.clocks or 'unknown'}")
    lines += [f"peaks       {_peaks_text(results.peaks)}"]
    lines += [f"note        {note}" for note in results.notes]
    return lines + [f"skipped     {what}: {why}" for what, why in results.skipped.items()]


def _peaks_text(peaks: dict[str, Any]) -> str:
    names = {"copy_bytes_per_s": ("copy", "B/s"), "matrix_flop_per_s": ("matrix products", "FLOP/s"),
             "fp8_flop_per_s": ("in fp8", "FLOP/s")}  # fmt: skip
    return ", ".join(f"{what} {rate_text(peaks[key]['value'], unit)}" for key, (what, unit) in names.items()
                     if key in peaks)  # fmt: skip
