"""Charts as SVG text: bars beside their floors, and a roofline. Light and dark pages both show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .cost import Peaks

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
_INK, _GRID, _FLOOR = "#888888", "#88888855", "#88888899"
_WIDTH, _LEFT, _RIGHT, _ROW = 860, 290, 90, 34


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="sans-serif" font-size="12" fill="{_INK}">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:g}" fill="{colour}">'
    return f"{shape}<title>{escape(title)}</title></rect>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = _GRID) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


@dataclass(frozen=True)
class Bar:
    """A labelled bar of parts, and the floors of the same parts below it."""

    label: str
    parts: Mapping[str, float]
    floors: Mapping[str, float]


def bars(title: str, unit: str, entries: Sequence[Bar]) -> str:
    """Stacked bars, one below the other; the thin bar below each is its floor."""
    names = list(dict.fromkeys(part for bar in entries for part in bar.parts))
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}
    longest = max((max(sum(bar.parts.values()), sum(bar.floors.values())) for bar in entries), default=1.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    parts = [_text(8, 18, f"{title} (below each bar: its floor)")]
    for index, name in enumerate(names if len(names) > 1 else ()):
        parts += [_box(8 + 110 * index, 28, 10, 10, colours[name], name), _text(22 + 110 * index, 37, name)]
    for index, bar in enumerate(entries):
        y = 50 + _ROW * index
        parts.append(_text(_LEFT - 8, y + 14, bar.label, "end"))
        for values, top, height in ((bar.parts, y, 14), (bar.floors, y + 15, 7)):
            x = float(_LEFT)
            for name, value in values.items():
                parts.append(_box(x, top, scale * value, height, colours[name], f"{name}: {value:.4g} {unit}"))
                x += scale * value
        parts.append(
            _text(_LEFT + scale * sum(bar.parts.values()) + 6, y + 12, f"{sum(bar.parts.values()):.4g} {unit}")
        )
    return _svg(_WIDTH, 60 + _ROW * len(entries), parts)


@dataclass(frozen=True)
class Point:
    """One measured call: FLOPs per byte, FLOP/s, what it is, and the series that it belongs to."""

    intensity: float
    rate: float
    label: str
    series: str


def roofline(title: str, peaks: Peaks, points: Sequence[Point]) -> str:
    """FLOP/s over FLOPs per byte, both logarithmic, below the two roofs that were measured."""
    points = [point for point in points if point.intensity > 0 and point.rate > 0]
    xs = [point.intensity for point in points] + [peaks.flops / peaks.bandwidth]
    ys = [point.rate for point in points] + [peaks.flops]
    low_x, high_x = (math.floor(math.log10(min(xs))), math.ceil(math.log10(max(xs) * 2)))
    low_y, high_y = (math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys))))
    left, top, width, height = 80, 50, 740, 380

    def place(x: float, y: float) -> tuple[float, float]:
        return (left + width * (math.log10(x) - low_x) / (high_x - low_x),
                top + height * (high_y - math.log10(y)) / (high_y - low_y))  # fmt: skip

    parts = [_text(8, 18, f"{title}: FLOP/s over FLOPs per byte")]
    for power in range(low_x, high_x + 1):
        x, _ = place(10.0**power, 10.0**low_y)
        parts += [_line(x, top, x, top + height), _text(x, top + height + 16, f"{10.0**power:g}", "middle")]
    for power in range(low_y, high_y + 1):
        _, y = place(10.0**low_x, 10.0**power)
        parts += [_line(left, y, left + width, y), _text(left - 6, y + 4, f"{10.0**power:.0e}", "end")]
    ridge = peaks.flops / peaks.bandwidth
    corner, end = place(ridge, peaks.flops), place(10.0**high_x, peaks.flops)
    begin_x = max(10.0**low_x, 10.0**low_y / peaks.bandwidth)
    parts += [_line(*place(begin_x, begin_x * peaks.bandwidth), *corner, _FLOOR), _line(*corner, *end, _FLOOR)]
    series = list(dict.fromkeys(point.series for point in points))
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(series)}
    for index, name in enumerate(series):
        parts += [_box(8 + 110 * index, 28, 10, 10, colours[name], name), _text(22 + 110 * index, 37, name)]
    for point in points:
        x, y = place(point.intensity, point.rate)
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colours[point.series]}" fill-opacity="0.75">'
        parts.append(f"{circle}<title>{escape(point.label)}</title></circle>")
    return _svg(left + width + 30, top + height + 30, parts)
