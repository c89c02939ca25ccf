"""The table of a video autoencoder's convolutions: what each has to do, its tiles, and how long it took."""

from __future__ import annotations

from math import prod
from pathlib import Path

from penstock.kernels.causal_conv3d_sm90 import MULTIPROCESSORS, HopperTile, hopper_tile

from .cost import Call, Peaks, op_cost
from .results import Results, metrics_of
from .run_ops import label
from .shapes import find_shape
from .tables import markdown_table

H100 = Peaks(790e12, 3.0e12)  # as others measured it
HEADERS = ("convolution", "calls", "GFLOP", "MB", "floor, µs", "tile", "tiles", "busy", "µs", "% of floor")


def layer_table(shape: str, results: Path) -> str:
    """One row for each different convolution of a chunk, the costliest first; floors are one call's.

    A tile is channels x height x width of a box. Busy: the share of the time of all multiprocessors, whole waves of
    tiles long, that goes into pixels of the picture. Times are the CUDA C++ kernel's in ``results``, if it is there.
    """
    times = _times(shape, results)
    rows, total = [], 0.0
    calls = find_shape(shape).calls("causal_conv3d", {}, 2)
    for call, count in sorted(calls, key=lambda entry: -entry[1] * H100.floor_seconds(op_cost(entry[0]))):
        cost = op_cost(call)
        floor = 1e6 * H100.floor_seconds(cost)
        total += count * floor
        us = times.get(label(call))
        measured = (f"{us:.4g}", f"{100 * floor / us:.0f}") if us else ("", "")
        rows.append((_short(call), str(count), f"{cost.matrix_flops / 1e9:.1f}", f"{cost.nbytes / 1e6:.0f}",
                     f"{floor:.1f}", *_tile_cells(call), *measured))  # fmt: skip
    table = markdown_table(HEADERS, rows, numbers_from=1)
    return f"{table}\n\nAll together: a floor of {1e-3 * total:.1f} ms."


def _times(shape: str, results: Path) -> dict[str, float]:
    if not results.exists():
        return {}
    rows = (row for row in Results.load(results).rows if row["op"] == "causal_conv3d" and row["shape"] == shape)
    return {row["call"]: metrics_of(row)["us"].value for row in rows if row["implementation"] == "cuda"}


def _short(call: Call) -> str:
    """Frames, picture and channels of y, those of x, the kernel, and what is done beside it."""
    _, height, width, outputs = call.shapes["y"]
    kernel = "x".join(map(str, call.shapes["weight"][1:4]))
    words = [f"{_frames(call)}x{height}x{width}, {call.shapes['x'][3]} to {outputs}, {kernel}"]
    words += [f"{name} {call.number(name)}" for name in ("stride", "upsample", "time_stride", "interleave")
              if call.number(name) > 1]  # fmt: skip
    words += [
        word for role, word in (("residual", "residual"), ("gamma", "norm"), ("raw", "raw")) if role in call.shapes
    ]
    words += [
        f"pixels {way}"
        for way, role in (("in", "x"), ("out", "y"))
        if call.attributes.get(f"{role}_range", "none") != "none"
    ]
    return ", ".join(words)


def _frames(call: Call) -> int:
    return call.number("frames") // call.number("time_stride") * call.number("interleave")


def _tile_cells(call: Call) -> tuple[str, str, str]:
    _, height, width, outputs = call.shapes["y"]
    upsample = call.number("upsample")
    picture = height // upsample, width // upsample
    pictures = _frames(call) * upsample**2
    tile = hopper_tile(call.shapes["x"][3], outputs, call.shapes["weight"][2], call.number("stride"), picture, pictures)
    if tile is None:
        return "Triton", "", ""
    tiles = tile.boxes(picture) * pictures * (outputs // tile.columns)
    return f"{tile.columns} x {tile.box[0]} x {tile.box[1]}", str(tiles), f"{100 * _busy(tile, tiles, picture):.0f} %"


def _busy(tile: HopperTile, tiles: int, picture: tuple[int, int]) -> float:
    waves = -(-tiles // MULTIPROCESSORS)
    return tiles / (waves * MULTIPROCESSORS) * prod(picture) / (tile.boxes(picture) * prod(tile.box))
