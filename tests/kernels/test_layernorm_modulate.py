"""The layernorm_modulate kernel against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels.layernorm_modulate import layernorm_modulate
from tests.helpers import normal
from tests.kernels.check import check_kernel, every_dtype


@every_dtype
@pytest.mark.parametrize(("slots", "tokens", "d"), [(1, 1, 16), (2, 3, 48), (3, 5, 257), (2, 2, 1536)])
def test_every_shape(rng: np.random.Generator, dtype: torch.dtype, slots: int, tokens: int, d: int) -> None:
    x = normal(rng, slots * tokens, d) + np.float32(2)
    inputs = {"x": x, "shift": normal(rng, slots, d), "scale": normal(rng, slots, d)}
    check_kernel(layernorm_modulate, dtype, inputs, {"y": x.shape}, eps=1e-6)
