"""Turns benchmarks/results/*.json into the tables and charts of docs/performance.md.

    python -m penstock.benchmarks.report [--results benchmarks/results] [--page docs/performance.md]

Only what lies between ``<!-- generated: NAME -->`` and ``<!-- end -->`` is written; all else of the page is prose. NAME
is a result file without its suffix (where it is not there yet, that is said), ``A beside B`` for streams with another
program's figures (published.py), ``noise A B`` for the comparison of two, or ``layers SHAPE A`` for the convolutions of
a video autoencoder with their times from A. Charts go beside the page.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from penstock.runtime.errors import PenstockError, os_errors_as_penstock

from .charts import Bar, Point, bars, roofline
from .compare import comparison_text
from .conv_layers import layer_table
from .peaks import MeasuredPeaks
from .published import Published
from .results import RESULTS, Results, Row, metrics_of
from .tables import OP_HEADERS, facts, markdown_table, op_cells, stream_table

_PAGE = RESULTS.parent.parent / "docs" / "performance.md"
_SECTION = re.compile(r"(<!-- generated: ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def write_report(results: Path, page: Path) -> list[Path]:
    """Rewrites the generated parts of ``page``; returns the files that were written."""
    with os_errors_as_penstock(page, "read the page"):
        text = page.read_text(encoding="utf-8")
    charts: dict[str, str] = {}

    def section(match: re.Match[str]) -> str:
        return f"{match[1]}{_section(match[2], results, charts)}\n{match[3]}"

    text, count = _SECTION.subn(section, text)
    if count == 0:
        raise PenstockError(f"{page}: expected a part <!-- generated: NAME --> ... <!-- end -->, found none")
    files = {page: text, **{page.parent / name: svg for name, svg in charts.items()}}
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
    return list(files)


def _section(what: str, results: Path, charts: dict[str, str]) -> str:
    if what.startswith("noise "):
        _, *names = what.split()
        first, second = (Results.load(results / f"{name}.json") for name in names)
        return f"```\n{comparison_text(first, second)}\n```"
    if what.startswith("layers "):
        _, shape, name = what.split()
        return layer_table(shape, results / f"{name}.json")
    name, _, other = what.partition(" beside ")
    path = results / f"{name}.json"
    if not path.exists():
        return f"Not measured yet: there is no `{name}.json`."
    found = Results.load(path)
    if found.set == "ops":
        parts = _ops_section(name, found, charts)
    else:
        beside = Published.load(results / f"{other}.json") if other else None
        parts = _streams_section(name, found, charts, beside)
    return "\n\n".join([*parts, "```\n" + "\n".join(facts(found)) + "\n```"])


def _ops_section(name: str, found: Results, charts: dict[str, str]) -> list[str]:
    peaks = MeasuredPeaks.from_json(found.peaks).for_floors
    points = [_point(row) for row in found.rows if row["matrix_flops"]]
    charts[f"{name}_roofline.svg"] = roofline(found.title, peaks, points)
    charts[f"{name}_time.svg"] = bars(
        f"{found.title}: time of each op in a chunk, of its costliest calls", "ms", _op_bars(found.rows)
    )
    images = [f"![{what}]({name}_{what}.svg)" for what in ("time", "roofline")]
    return [markdown_table(OP_HEADERS, op_cells(found, _costliest(found.rows)), numbers_from=3), *images]


def _costliest(rows: Sequence[Row]) -> list[Row]:
    """The rows of each op's first call at each shape, which is the one that takes most of a chunk at its floor."""
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        first.setdefault((row["op"], row["shape"]), row["call"])
    return [row for row in rows if row["call"] == first[row["op"], row["shape"]]]


def _point(row: Row) -> Point:
    rate = row["flops"] / (1e-6 * metrics_of(row)["us"].value)
    return Point(row["flops"] / row["bytes"], rate, row["id"], row["implementation"])


def _op_bars(rows: Sequence[Row]) -> list[Bar]:
    """What the measured calls of each op take in all, by shape; the fastest of our implementations counts."""
    fastest: dict[tuple[str, str, str], Row] = {}
    for row in (row for row in rows if row["ours"]):
        key = (row["shape"], row["op"], row["call"])
        best = fastest.get(key)
        if best is None or metrics_of(row)["us"].value < metrics_of(best)["us"].value:
            fastest[key] = row
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (shape, op, _), row in fastest.items():
        total = totals[f"{op} {shape}"]
        total[0] += 1e-3 * row["count"] * metrics_of(row)["us"].value
        total[1] += 1e-3 * row["count"] * row["floor_us"]
    ranked = sorted(totals.items(), key=lambda entry: -entry[1][0])[:16]
    return [Bar(label, {"ms": measured}, {"ms": floor}) for label, (measured, floor) in ranked]


def _streams_section(name: str, found: Results, charts: dict[str, str], beside: Published | None) -> list[str]:
    entries = [
        Bar(row["id"], {phase: metrics_of(row)[f"{phase}_ms"].value for phase in row["floor_ms"]}, row["floor_ms"])
        for row in found.rows
    ]
    charts[f"{name}_time.svg"] = bars(f"{found.title}: where a chunk's time goes", "ms", entries)
    return [markdown_table(*stream_table(found, beside)), f"![time]({name}_time.svg)"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the generated parts of docs/performance.md.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=_PAGE)
    options = parser.parse_args()
    try:
        written = write_report(options.results, options.page)
    except PenstockError as error:
        parser.exit(1, f"report: error: {error}\n")
    print("\n".join(map(str, written)))


if __name__ == "__main__":
    main()
