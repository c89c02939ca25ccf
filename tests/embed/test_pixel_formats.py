"""Pixel formats of the C ABI through an engine that gives back its frames: against float64, and against libswscale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from .echo import BGRA, COLORS, NV12, RGB, RGBA, SIZE, Echo


@pytest.fixture(scope="module")
def echo(echo_engine: Path) -> Iterator[Echo]:
    session = Echo(echo_engine)
    yield session
    session.close()


def empty(rows: int, columns: int, channels: int = 1) -> np.ndarray:
    """Rows with a gap behind each, all poisoned."""
    memory = np.full((rows, columns * channels + 13), 0xA5, np.uint8)
    return memory[:, : columns * channels]


def padded(values: np.ndarray) -> np.ndarray:
    plane = empty(len(values), values[0].size)
    plane[:] = values.reshape(len(values), -1)
    return plane


def to_yuv(rgb: np.ndarray, color: int) -> tuple[np.ndarray, np.ndarray]:
    """Y [H, W] and (Cb, Cr) [H/2, W/2, 2] in float64, by the formulas of ITU-R BT.709 and BT.601."""
    kr, kb, limited = COLORS[color]
    r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    chroma = np.stack([(b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)], -1)
    chroma = chroma.reshape(SIZE // 2, 2, SIZE // 2, 2, 2).mean((1, 3))
    return (16 + y * 219 / 255, 128 + chroma * 224 / 255) if limited else (y, 128 + chroma)


def to_rgb(y: np.ndarray, chroma: np.ndarray, color: int) -> np.ndarray:
    kr, kb, limited = COLORS[color]
    level = (y - 16.0) * 255 / 219 if limited else y.astype(np.float64)
    wide = (chroma.astype(np.float64) - 128).repeat(2, 0).repeat(2, 1) * (255 / 224 if limited else 1)
    r, b = level + (2 - 2 * kr) * wide[..., 1], level + (2 - 2 * kb) * wide[..., 0]
    return np.stack([r, (level - kr * r - kb * b) / (1 - kr - kb), b], -1)


def worst(actual: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(actual - np.clip(exact, 0, 255)).max())


@pytest.mark.parametrize("frame_format", [RGB, RGBA, BGRA])
@pytest.mark.parametrize("bottom_up", [False, True])
def test_packed_formats(echo: Echo, rng: np.random.Generator, frame_format: int, bottom_up: bool) -> None:
    rgb = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    alpha = rng.integers(0, 256, (SIZE, SIZE, 1), np.uint8)
    packed = {RGB: rgb, RGBA: np.concatenate([rgb, alpha], 2), BGRA: np.concatenate([rgb[..., ::-1], alpha], 2)}
    expected = {RGB: rgb, RGBA: np.dstack([rgb, np.full_like(alpha, 255)]),
                BGRA: np.dstack([rgb[..., ::-1], np.full_like(alpha, 255)])}  # fmt: skip
    source, target = padded(packed[frame_format]), empty(SIZE, SIZE, 4)
    if bottom_up:
        source = padded(packed[frame_format][::-1])[::-1]
        target = target[::-1]
    for out_format in (RGB, RGBA, BGRA):
        out = target[:, : expected[out_format][0].size]
        out[:] = 0xA5
        echo.through([source], frame_format, [out], out_format)
        np.testing.assert_array_equal(out, expected[out_format].reshape(SIZE, -1))
        assert (out.base[:, -13:] == 0xA5).all(), "the gap behind a row is written"


@pytest.mark.parametrize("color", COLORS)
def test_nv12_against_the_formula(echo: Echo, rng: np.random.Generator, color: int) -> None:
    """Within half a step, which is rounding, and what 16-bit coefficients lose."""
    y = rng.integers(0, 256, (SIZE, SIZE), np.uint8)
    chroma = rng.integers(0, 256, (SIZE // 2, SIZE // 2, 2), np.uint8)
    out = empty(SIZE, SIZE, 3)
    echo.through([padded(y), padded(chroma)], NV12, [out], RGB, color)
    assert worst(out.reshape(SIZE, SIZE, 3), to_rgb(y, chroma, color)) <= 0.51

    rgb = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    rgb[:2], rgb[2:4] = 255, 0
    luma, pairs = empty(SIZE, SIZE), empty(SIZE // 2, SIZE)
    echo.through([padded(rgb)], RGB, [luma, pairs], NV12, color)
    exact_y, exact_chroma = to_yuv(rgb, color)
    assert worst(luma, exact_y) <= 0.51
    assert worst(pairs.reshape(exact_chroma.shape), exact_chroma) <= 0.51
    white, black = (235, 16) if COLORS[color][2] else (255, 0)
    assert (luma[:2] == white).all() and (luma[2:4] == black).all() and (pairs[:2] == 128).all()


def test_nv12_against_libswscale(echo: Echo, rng: np.random.Generator) -> None:
    """Pictures without detail in colour, where how chroma is placed makes no difference: within two steps, since
    libswscale computes with fewer bits."""
    rgb = np.full((SIZE, SIZE, 3), rng.integers(0, 256, 3), np.uint8)
    luma, pairs = empty(SIZE, SIZE), empty(SIZE // 2, SIZE)
    echo.through([padded(rgb)], RGB, [luma, pairs], NV12)
    reformatted = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
        format="nv12", dst_colorspace="ITU709", src_color_range="JPEG", dst_color_range="MPEG"
    )
    other = reformatted.to_ndarray()
    assert np.abs(luma.astype(int) - other[:SIZE]).max() <= 2
    assert np.abs(pairs.astype(int) - other[SIZE:]).max() <= 2
