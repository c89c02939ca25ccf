"""The patchify and unpatchify kernels, which only move values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference
from penstock.kernels.patchify import patchify
from penstock.kernels.unpatchify import unpatchify
from tests.helpers import normal
from tests.kernels.check import check_kernel, every_dtype

SHAPES = [(1, 1, 1, 2, 2), (2, 3, 3, 4, 10), (3, 1, 16, 6, 4)]  # slots, frames, channels, height, width


@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_patchify(rng: np.random.Generator, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    slots, frames, channels, height, width = shape
    tokens = (slots * frames * height * width // 4, 4 * channels)
    check_kernel(patchify, dtype, {"x": normal(rng, *shape)}, {"tokens": tokens})


@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_unpatchify(rng: np.random.Generator, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    slots, frames, channels, height, width = shape
    tokens = normal(rng, slots * frames * height * width // 4, 4 * channels)

    def expected(tensors: dict[str, torch.Tensor]) -> reference.Outputs:
        return reference.unpatchify(**tensors, slots=slots, frames=frames, height=height // 2, width=width // 2)

    check_kernel(unpatchify, dtype, {"tokens": tokens}, {"x": shape}, expected=expected)
