"""latents_to_tensor against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, check_op, normal, run_op


def check_latents(inputs: Arrays, y_frames: int, clamp: str) -> Arrays:
    def expected(tensors: dict[str, torch.Tensor]) -> reference_vae.Outputs:
        return reference_vae.latents_to_tensor(**tensors, clamp=clamp, y_frames=y_frames)

    _, channels, height, width = inputs["latents"].shape
    outputs = {"y": (y_frames, height, width, channels)}
    return check_op("latents_to_tensor", inputs, outputs, expected=expected, clamp=clamp)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 16, 5, 7), (1, 3, 30, 52)])
@pytest.mark.parametrize("clamp", ["none", "tanh3"])
@pytest.mark.parametrize("scaled", [False, True])
def test_every_shape(rng: np.random.Generator, shape: tuple[int, ...], clamp: str, scaled: bool) -> None:
    inputs = {"latents": 3 * normal(rng, *shape)}
    if scaled:
        inputs |= {"mean": normal(rng, shape[1]), "std": 1 + rng.random(shape[1], np.float32)}
    check_latents(inputs, shape[0], clamp)


def test_a_ring_that_wraps(rng: np.random.Generator) -> None:
    check_latents({"latents": normal(rng, 2, 4, 3, 5), "y_frame": np.array([8])}, 3, "none")


def test_what_does_not_fit_is_an_error(rng: np.random.Generator) -> None:
    latents, y = normal(rng, 2, 4, 3, 3), {"y": (2, 3, 3, 4)}
    for role in ("mean", "std"):
        with pytest.raises(PenstockError, match="mean and std must be given together"):
            run_op("latents_to_tensor", {"latents": latents, role: normal(rng, 4)}, y, clamp="none")
    with pytest.raises(PenstockError, match="y_frame is -1"):
        run_op("latents_to_tensor", {"latents": latents, "y_frame": np.array([-1])}, y, clamp="none")
    with pytest.raises(PenstockError, match="y has 1 frames, needs 2"):
        run_op("latents_to_tensor", {"latents": latents}, {"y": (1, 3, 3, 4)}, clamp="none")
