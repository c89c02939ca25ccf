"""Styles as picture functions: for each of them the right output is known, pixel by pixel.

Every function takes pictures float32 [..., H, W, 3], from 0 to 1, and returns the same shape and range. None looks
further than 5 pixels, and only `pixel_art` depends on where in the picture a pixel lies (cells of 8 x 8 pixels).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_CELL = 8  # pixels of a pixel-art square: one latent position


@dataclass(frozen=True)
class Style:
    """A style: its name, the prompt that asks for it, other words for the same, and the picture it makes."""

    name: str
    prompt: str
    paraphrases: tuple[str, ...]
    apply: Callable[[np.ndarray], np.ndarray]


def _luma(pictures: np.ndarray) -> np.ndarray:
    return pictures @ _LUMA


def _ramp(values: np.ndarray, colours: list[tuple[float, float, float]]) -> np.ndarray:
    """Values from 0 to 1 as colours, straight lines between evenly spaced ones."""
    stops = np.linspace(0, 1, len(colours))
    table = np.array(colours, np.float32).T
    return np.stack([np.interp(values, stops, channel) for channel in table], -1).astype(np.float32)


def _shifted(pictures: np.ndarray, axis: int, by: int) -> np.ndarray:
    """Moved along an axis, the border repeated."""
    index = np.clip(np.arange(pictures.shape[axis]) - by, 0, pictures.shape[axis] - 1)
    return np.take(pictures, index, axis)


def _blurred(pictures: np.ndarray, rows: int, times: int = 1) -> np.ndarray:
    """The binomial filter 1 2 1, along rows and columns; ``rows`` is the axis of the rows."""
    for _ in range(times):
        for axis in (rows, rows + 1):
            pictures = (_shifted(pictures, axis, 1) + 2 * pictures + _shifted(pictures, axis, -1)) / 4
    return pictures


def _edges(pictures: np.ndarray) -> np.ndarray:
    """Strength of the edges of the blurred luma [..., H, W], about 0 to 1."""
    luma = _blurred(_luma(pictures), rows=-2)
    across = _shifted(luma, -1, 1) - _shifted(luma, -1, -1)
    down = _shifted(luma, -2, 1) - _shifted(luma, -2, -1)
    return np.minimum(3.0 * np.sqrt(across * across + down * down), 1.0)


def pencil_sketch(pictures: np.ndarray) -> np.ndarray:
    """Dark lines on bright paper, a little shade where the picture is dark."""
    value = (0.78 + 0.2 * _luma(pictures)) * (1 - 0.85 * _edges(pictures))
    return np.repeat(value[..., None], 3, -1)


def neon_edges(pictures: np.ndarray) -> np.ndarray:
    """Glowing lines on a night-blue ground, cyan in the bright parts and magenta in the dark ones."""
    luma, edges = _luma(pictures)[..., None], _edges(pictures)[..., None]
    glow = luma * np.array([0.1, 1.0, 0.95], np.float32) + (1 - luma) * np.array([1.0, 0.15, 0.85], np.float32)
    return np.array([0.03, 0.02, 0.1], np.float32) * (1 - edges) + glow * edges


def sepia_film(pictures: np.ndarray) -> np.ndarray:
    """Brown tones from black to cream."""
    return _ramp(_luma(pictures), [(0.1, 0.05, 0.02), (0.62, 0.42, 0.24), (1.0, 0.93, 0.78)])


def pixel_art(pictures: np.ndarray) -> np.ndarray:
    """Squares of one strong colour, drawn towards 4 levels a channel by a smooth staircase."""
    *lead, height, width, _ = pictures.shape
    rows, columns = -(-height // _CELL), -(-width // _CELL)
    pad = [(0, 0)] * len(lead) + [(0, rows * _CELL - height), (0, columns * _CELL - width), (0, 0)]
    cells = np.pad(pictures, pad, mode="edge").reshape(*lead, rows, _CELL, columns, _CELL, 3).mean((-4, -2))
    strong = np.clip(0.5 + 1.6 * (cells - 0.5), 0, 1)
    squares = strong - np.sin(6 * np.pi * strong) / (6 * np.pi)
    return squares.repeat(_CELL, -3).repeat(_CELL, -2)[..., :height, :width, :].astype(np.float32)


def thermal_camera(pictures: np.ndarray) -> np.ndarray:
    """False colours of heat: black, blue, purple, red, orange, yellow, white."""
    return _ramp(_luma(pictures), [(0, 0, 0.1), (0.12, 0.05, 0.6), (0.6, 0.05, 0.6), (0.92, 0.25, 0.2),
                                   (1.0, 0.6, 0.05), (1.0, 0.92, 0.3), (1, 1, 0.95)])  # fmt: skip


def night_vision(pictures: np.ndarray) -> np.ndarray:
    """Green only, the dark parts lifted."""
    return _ramp(np.sqrt(np.maximum(_luma(pictures), 0)), [(0, 0.05, 0), (0.05, 0.55, 0.1), (0.55, 1.0, 0.5)])


def watercolour(pictures: np.ndarray) -> np.ndarray:
    """Soft, light and more colourful, on white paper."""
    soft = _blurred(pictures, rows=-3, times=3)
    luma = _luma(soft)[..., None]
    return np.clip(0.45 + 0.55 * (luma + 1.9 * (soft - luma)), 0, 1)


def inverted_colours(pictures: np.ndarray) -> np.ndarray:
    """The negative."""
    return 1 - pictures


STYLES = (
    Style("pencil sketch", "a pencil sketch", ("pencil drawing", "a drawing in graphite", "sketch on paper"),
          pencil_sketch),
    Style("neon edges", "neon edges", ("glowing neon outlines", "neon lines in the dark", "a neon sign"), neon_edges),
    Style("sepia film", "an old sepia film", ("sepia", "an old brown photograph", "sepia toned picture"), sepia_film),
    Style("pixel art", "pixel art", ("an 8-bit video game", "blocky retro pixels", "big pixels"), pixel_art),
    Style("thermal camera", "a thermal camera", ("heat map", "infrared thermal image", "seen by its heat"),
          thermal_camera),
    Style("night vision", "night vision", ("green night vision goggles", "a night scope", "through night goggles"),
          night_vision),
    Style("watercolour", "a watercolour", ("watercolor painting", "a soft wash of paint", "painted in watercolours"),
          watercolour),
    Style("inverted colours", "inverted colours", ("a photo negative", "negative", "inverted colors"),
          inverted_colours),
)  # fmt: skip


def style(name: str) -> Style:
    """The style of that name."""
    return next(entry for entry in STYLES if entry.name == name)
