"""unpatchify against the formula: values only move, so they must come out to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference
from tests.helpers import check_op, normal

SHAPES = [(1, 1, 1, 1, 1), (1, 2, 16, 3, 5), (2, 1, 3, 1, 7), (4, 3, 16, 5, 2), (2, 1, 16, 30, 52)]


@pytest.mark.parametrize("shape", SHAPES)
def test_moves_every_value(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    slots, frames, channels, height, width = shape
    tokens = normal(rng, slots * frames * height * width, 4 * channels)
    latents = (slots, frames, channels, 2 * height, 2 * width)

    def expected(tensors: dict[str, torch.Tensor]) -> reference.Outputs:
        return reference.unpatchify(tensors["tokens"], slots, frames, height, width)

    actual = check_op("unpatchify", {"tokens": tokens}, {"x": latents}, expected=expected, atol=0.0)
    assert np.array_equal(actual["x"], expected({"tokens": torch.from_numpy(tokens)})["x"].numpy())
