"""gate_residual_layernorm against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import check_op, normal

SHAPES = [(1, 1, 9), (1, 7, 48), (2, 15, 257), (3, 5, 1023), (4, 60, 1536), (1, 1560, 1536)]  # slots, tokens, width


@pytest.mark.parametrize(("slots", "tokens", "dim"), SHAPES)
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("norm", ["modulate", "affine"])
def test_every_shape(rng: np.random.Generator, slots: int, tokens: int, dim: int, gated: bool, norm: str) -> None:
    x, update = normal(rng, slots * tokens, dim), normal(rng, slots * tokens, dim)
    rows = slots if norm == "modulate" else 1
    inputs = {"update": update, "scale": normal(rng, rows, dim), "shift": normal(rng, rows, dim)}
    if gated:
        inputs["gate"] = normal(rng, slots, dim)
    check_op("gate_residual_layernorm", inputs, {"y": x.shape}, {"x": x}, eps=1e-6, norm=norm)
