"""Procedural clips are the same for a seed, their motion is the true one, and the styles are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.evaluation.clips import HELD_OUT, ProceduralClip
from penstock.evaluation.measures import followed, warp_error
from penstock.evaluation.styles import STYLES, Style, style

each_style = pytest.mark.parametrize("entry", STYLES, ids=[entry.name for entry in STYLES])


def test_a_window_is_a_part_of_the_frame() -> None:
    clip = ProceduralClip(48, 64, HELD_OUT + 5)
    clip.noise = 0.0  # of another size where the window has
    whole, motion = clip.render(7)
    part, part_motion = clip.render(7, (10, 20, 16, 32))
    np.testing.assert_array_equal(part, whole[10:26, 20:52])
    np.testing.assert_array_equal(part_motion, motion[10:26, 20:52])
    assert np.array_equal(ProceduralClip(48, 64, HELD_OUT + 5).frame(7), ProceduralClip(48, 64, HELD_OUT + 5).frame(7))


@pytest.mark.parametrize("seed", range(4))
def test_the_motion_is_the_true_one(seed: int) -> None:
    """Without noise and change of light, a frame taken along it is the next one; taken at rest it is not."""
    clip = ProceduralClip(64, 64, HELD_OUT + seed)
    clip.noise, clip.light, clip.pan = 0.0, (0.0, 0.1, 0.0), np.array([1.5, -2.0])
    (frame, motion), (following, then) = clip.render(3), clip.render(4)
    visible = followed(motion, then)
    assert visible.mean() > 0.5
    moved, rested = (warp_error(frame, following, field, visible) for field in (motion, np.zeros_like(motion)))
    assert moved < 0.02 and moved < rested / 3


@each_style
def test_a_style_keeps_shape_and_range(rng: np.random.Generator, entry: Style) -> None:
    frames = rng.random((2, 21, 30, 3), np.float32)
    frames[0, 0, 0], frames[0, 0, 1] = 0, 1
    result = entry.apply(frames)
    assert result.shape == frames.shape and result.dtype == np.float32
    assert result.min() >= -1e-6 and result.max() <= 1 + 1e-6
    np.testing.assert_allclose(entry.apply(frames[1]), result[1], atol=1e-6)


@each_style
def test_a_style_is_local(rng: np.random.Generator, entry: Style) -> None:
    """A pixel changes its own cell of 8 x 8 and what lies within 5 pixels, nothing else."""
    frame = rng.random((32, 32, 3), np.float32)
    changed = frame.copy()
    changed[12, 13] = 1 - changed[12, 13]
    rows, columns = np.nonzero(np.abs(entry.apply(frame) - entry.apply(changed)).max(-1) > 1e-6)
    assert len(rows) and rows.min() >= 7 and rows.max() <= 17 and columns.min() >= 8 and columns.max() <= 18


def test_styles_are_far_from_each_other_and_from_the_picture() -> None:
    for seed in range(6):
        frame = ProceduralClip(64, 64, HELD_OUT + seed).render(0)[0]
        pictures = [frame, *(entry.apply(frame) for entry in STYLES)]
        apart = [np.sqrt(np.mean((a - b) ** 2)) for i, a in enumerate(pictures) for b in pictures[:i]]
        assert min(apart) > 0.04


def test_known_values() -> None:
    """By hand from the definitions, on flat pictures, which have no edges."""
    grey = np.full((8, 8, 3), 0.5, np.float32)
    values = {"pencil sketch": (0.88, 0.88, 0.88), "neon edges": (0.03, 0.02, 0.1), "sepia film": (0.62, 0.42, 0.24),
              "pixel art": (0.5, 0.5, 0.5), "thermal camera": (0.92, 0.25, 0.2), "watercolour": (0.725, 0.725, 0.725),
              "inverted colours": (0.5, 0.5, 0.5)}  # fmt: skip
    for name, colour in values.items():
        np.testing.assert_allclose(style(name).apply(grey)[4, 4], colour, atol=1e-5, err_msg=name)
