"""rms_silu against float64, on plain tensors and on rings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, check_op, normal, run_op

SHAPES = [(1, 1, 1, 1), (2, 3, 5, 3), (1, 7, 9, 8), (4, 5, 3, 16), (3, 13, 31, 96), (1, 17, 19, 384)]


def check_rms_silu(inputs: Arrays, y_frames: int, frames: int, activation: str) -> Arrays:
    def expected(tensors: dict[str, torch.Tensor]) -> reference_vae.Outputs:
        return reference_vae.rms_silu(**tensors, frames=frames, activation=activation, y_frames=y_frames)

    shape = (y_frames, *inputs["x"].shape[1:])
    return check_op("rms_silu", inputs, {"y": shape}, expected=expected, frames=frames, activation=activation)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["silu", "none"])
def test_every_shape(rng: np.random.Generator, shape: tuple[int, ...], activation: str) -> None:
    inputs = {"x": 3 * normal(rng, *shape), "gamma": normal(rng, shape[-1])}
    check_rms_silu(inputs, shape[0], shape[0], activation)


def test_rings_that_wrap(rng: np.random.Generator) -> None:
    """Frames 7, 8, 9 of a ring of four go to frames 11, 12, 13 of a ring of five."""
    x = normal(rng, 4, 3, 5, 24)
    x[10 % 4] = np.nan
    inputs = {"x": x, "gamma": normal(rng, 24), "x_frame": np.array([7]), "y_frame": np.array([11])}
    check_rms_silu(inputs, 5, 3, "silu")


def test_zeros_and_tiny_pixels_stay_finite(rng: np.random.Generator) -> None:
    x = normal(rng, 1, 4, 4, 8)
    x[0, 0] = 0.0
    x[0, 1] *= np.float32(1e-15)
    check_rms_silu({"x": x, "gamma": normal(rng, 8)}, 1, 1, "silu")


@pytest.mark.parametrize("role", ["x_frame", "y_frame"])
def test_a_negative_counter_is_an_error(rng: np.random.Generator, role: str) -> None:
    inputs = {"x": normal(rng, 1, 2, 2, 4), "gamma": normal(rng, 4), role: np.array([-5])}
    with pytest.raises(PenstockError, match=f"{role} is -5"):
        run_op("rms_silu", inputs, {"y": (1, 2, 2, 4)}, frames=1, activation="silu")


def test_too_few_frames_are_an_error(rng: np.random.Generator) -> None:
    inputs = {"x": normal(rng, 2, 2, 2, 4), "gamma": normal(rng, 4)}
    with pytest.raises(PenstockError, match="x has 2 frames, needs 3"):
        run_op("rms_silu", inputs, {"y": (3, 2, 2, 4)}, frames=3, activation="silu")
