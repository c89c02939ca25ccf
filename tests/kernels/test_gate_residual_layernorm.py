"""The gate_residual_layernorm kernel against float64, with and without gate, in both norms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels.gate_residual_layernorm import gate_residual_layernorm
from tests.helpers import normal
from tests.kernels.check import check_kernel, every_dtype


@every_dtype
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("norm", ["modulate", "affine"])
@pytest.mark.parametrize(("slots", "tokens", "d"), [(1, 2, 16), (3, 2, 257), (2, 1, 1536)])
def test_every_shape(
    rng: np.random.Generator, dtype: torch.dtype, slots: int, tokens: int, d: int, norm: str, gated: bool
) -> None:
    x, update = normal(rng, slots * tokens, d), normal(rng, slots * tokens, d)
    rows = slots if norm == "modulate" else 1
    inputs = {"update": update, "scale": normal(rng, rows, d), "shift": normal(rng, rows, d)}
    if gated:
        inputs["gate"] = normal(rng, slots, d)
    check_kernel(gate_residual_layernorm, dtype, inputs, {"y": x.shape}, {"x": x}, eps=1e-6, norm=norm)
