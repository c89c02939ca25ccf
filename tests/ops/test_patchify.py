"""patchify against the formula: values only move, so they must come out to the bit."""

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
    x = normal(rng, slots, frames, channels, 2 * height, 2 * width)
    tokens = (slots * frames * height * width, 4 * channels)
    actual = check_op("patchify", {"x": x}, {"tokens": tokens}, atol=0.0)
    assert np.array_equal(actual["tokens"], reference.patchify(torch.from_numpy(x))["tokens"].numpy())


def test_is_the_input_order_of_the_patch_convolution(rng: np.random.Generator) -> None:
    """tokens times the flattened Conv3d weight [d, C, 1, 2, 2] is the patch embedding."""
    x, weight = (torch.from_numpy(normal(rng, *shape)).double() for shape in ((2, 3, 16, 6, 10), (8, 16, 1, 2, 2)))
    embedded = torch.nn.functional.conv3d(x.transpose(1, 2), weight, stride=(1, 2, 2)).flatten(2).transpose(1, 2)
    tokens = reference.patchify(x)["tokens"] @ weight.reshape(8, -1).T
    assert torch.allclose(tokens, embedded.reshape(-1, 8))
