"""tensor_to_latents against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, check_op, normal, run_op


def check_latents(inputs: Arrays, frames: int) -> Arrays:
    def expected(tensors: dict[str, torch.Tensor]) -> reference_vae.Outputs:
        return reference_vae.tensor_to_latents(**tensors, frames=frames)

    _, height, width, channels = inputs["x"].shape
    return check_op("tensor_to_latents", inputs, {"latents": (frames, channels, height, width)}, expected=expected)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 7, 16), (1, 30, 52, 3)])
@pytest.mark.parametrize("scaled", [False, True])
def test_every_shape(rng: np.random.Generator, shape: tuple[int, ...], scaled: bool) -> None:
    inputs = {"x": normal(rng, *shape)}
    if scaled:
        inputs |= {"mean": normal(rng, shape[3]), "std": 1 + rng.random(shape[3], np.float32)}
    check_latents(inputs, shape[0])


def test_a_ring_that_wraps(rng: np.random.Generator) -> None:
    x = normal(rng, 3, 4, 5, 6)
    x[10 % 3] = np.nan
    check_latents({"x": x, "x_frame": np.array([8])}, 2)


def test_what_does_not_fit_is_an_error(rng: np.random.Generator) -> None:
    x, latents = normal(rng, 2, 3, 3, 4), {"latents": (2, 4, 3, 3)}
    for role in ("mean", "std"):
        with pytest.raises(PenstockError, match="mean and std must be given together"):
            run_op("tensor_to_latents", {"x": x, role: normal(rng, 4)}, latents)
    with pytest.raises(PenstockError, match="x_frame is -1"):
        run_op("tensor_to_latents", {"x": x, "x_frame": np.array([-1])}, latents)
    with pytest.raises(PenstockError, match="x has 2 frames, needs 3"):
        run_op("tensor_to_latents", {"x": x}, {"latents": (3, 4, 3, 3)})
