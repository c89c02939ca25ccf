"""spatial_attention against a full softmax in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from tests.helpers import check_op, normal

# frames, tokens of a frame, channels
CASES = [(1, 1, 1), (3, 15, 8), (2, 70, 24), (1, 257, 64), (2, 450, 16), (1, 390, 384)]


@pytest.mark.parametrize(("frames", "tokens", "channels"), CASES)
def test_every_shape(rng: np.random.Generator, frames: int, tokens: int, channels: int) -> None:
    def expected(tensors: dict[str, torch.Tensor]) -> reference_vae.Outputs:
        return reference_vae.spatial_attention(tensors["qkv"], frames)

    qkv = normal(rng, frames * tokens, 3 * channels)
    check_op("spatial_attention", {"qkv": qkv}, {"out": (frames * tokens, channels)}, expected=expected, frames=frames)
