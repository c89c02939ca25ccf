"""The kernels of rms_silu and spatial_attention, on ragged pictures and on rings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.kernels.rms_silu import rms_silu
from penstock.kernels.spatial_attention import spatial_attention
from tests.helpers import Arrays, normal
from tests.kernels.check import Tensors, check_kernel, every_dtype


def check_rms_silu(dtype: torch.dtype, inputs: Arrays, y_frames: int, **attributes: int | str) -> None:
    def expected(given: Tensors) -> Tensors:
        return reference_vae.rms_silu(**given, **attributes, y_frames=y_frames)

    outputs = {"y": (y_frames, *inputs["x"].shape[1:])}
    check_kernel(rms_silu, dtype, inputs, outputs, expected=expected, **attributes)


@every_dtype
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 3), (1, 7, 9, 96), (1, 3, 5, 384), (1, 2, 3, 600)])
@pytest.mark.parametrize("activation", ["silu", "none"])
def test_normalisation(rng: np.random.Generator, dtype: torch.dtype, shape: tuple[int, ...], activation: str) -> None:
    inputs = {"x": 3 * normal(rng, *shape), "gamma": normal(rng, shape[-1])}
    check_rms_silu(dtype, inputs, shape[0], frames=shape[0], activation=activation)


@every_dtype
def test_normalisation_from_ring_to_ring(rng: np.random.Generator, dtype: torch.dtype) -> None:
    """Frames 7, 8, 9 of a ring of four go to frames 11, 12, 13 of a ring of five."""
    x = normal(rng, 4, 3, 5, 24)
    x[10 % 4] = np.nan
    inputs = {"x": x, "gamma": normal(rng, 24), "x_frame": np.array([7]), "y_frame": np.array([11])}
    check_rms_silu(dtype, inputs, 5, frames=3, activation="silu")


@every_dtype
def test_zeros_stay_finite(rng: np.random.Generator, dtype: torch.dtype) -> None:
    x = normal(rng, 1, 4, 4, 8)
    x[0, 0] = 0.0
    check_rms_silu(dtype, {"x": x, "gamma": normal(rng, 8)}, 1, frames=1, activation="silu")


@every_dtype
@pytest.mark.parametrize(
    ("frames", "tokens", "channels"), [(1, 1, 1), (2, 35, 24), (1, 131, 64), (3, 7, 96), (1, 65, 200), (1, 41, 384)]
)
def test_attention(rng: np.random.Generator, dtype: torch.dtype, frames: int, tokens: int, channels: int) -> None:
    inputs = {"qkv": 2 * normal(rng, frames * tokens, 3 * channels)}
    check_kernel(spatial_attention, dtype, inputs, {"out": (frames * tokens, channels)}, frames=frames)
