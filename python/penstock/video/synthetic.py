"""A video without a file: shapes that bounce over a drifting texture, for tests and demonstrations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .geometry import Size, check_size

_SHAPES = 4
_CELL = 32  # pixels between the random values that the texture is interpolated from


def generate_clip(frames: int = 33, size: Size = (480, 832), seed: int = 0) -> Iterator[np.ndarray]:
    """Yield `frames` frames uint8 [H, W, 3], the same ones for the same arguments on every machine.

    The texture drifts by 2 pixels a frame; discs and squares cross it in straight lines and bounce off the borders.
    """
    height, width = check_size(size)
    rng = np.random.default_rng(seed)
    texture = _texture(height, width, rng)
    radius = max(2, min(height, width) // 8)
    area = np.array([height, width])
    start = rng.integers(0, area, (_SHAPES, 2))
    speed = rng.integers(1, max(2, radius // 4) + 1, (_SHAPES, 2)) * rng.choice([-1, 1], (_SHAPES, 2))
    colours = rng.integers(0, 256, (_SHAPES, 3), dtype=np.uint8)
    rows, columns = np.ogrid[:height, :width]
    for index in range(frames):
        frame = np.roll(texture, 2 * index, axis=1)
        for shape in range(_SHAPES):
            y, x = _bounce(start[shape] + speed[shape] * index, area)
            if shape % 2:
                inside = (abs(rows - y) <= radius) & (abs(columns - x) <= radius)
            else:
                inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
            frame[inside] = colours[shape]
        yield frame


def _bounce(position: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Positions on an endless line folded into 0 … area - 1, as a ball between two walls moves."""
    period = np.maximum(2 * (area - 1), 1)
    folded = position % period
    return np.minimum(folded, period - folded)


def _texture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth muted colours [H, W, 3] without a seam, in integer arithmetic so that they are the same everywhere."""
    counts = [max(1, side // _CELL) for side in (height, width)]
    cells = rng.integers(60, 196, (*counts, 1)) + rng.integers(-40, 41, (*counts, 3))
    row, down, column, right = (
        part
        for side, count in zip((height, width), counts, strict=True)
        for part in np.divmod(np.arange(side) * count * _CELL // side, _CELL)
    )
    next_row, next_column = (row + 1) % counts[0], (column + 1) % counts[1]
    down, right = down[:, None, None], right[None, :, None]
    top = cells[row][:, column] * (_CELL - right) + cells[row][:, next_column] * right
    bottom = cells[next_row][:, column] * (_CELL - right) + cells[next_row][:, next_column] * right
    return ((top * (_CELL - down) + bottom * down) // _CELL**2).astype(np.uint8)
