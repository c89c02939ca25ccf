"""layernorm_modulate against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import check_op, normal

SHAPES = [(1, 1, 9), (1, 7, 48), (2, 15, 257), (3, 5, 1023), (4, 60, 1536), (1, 1560, 1536)]  # slots, tokens, width


@pytest.mark.parametrize(("slots", "tokens", "dim"), SHAPES)
def test_every_shape(rng: np.random.Generator, slots: int, tokens: int, dim: int) -> None:
    x = normal(rng, slots * tokens, dim)
    inputs = {"x": x, "shift": normal(rng, slots, dim), "scale": normal(rng, slots, dim)}
    check_op("layernorm_modulate", inputs, {"y": x.shape}, eps=1e-6)


def test_a_mean_far_from_zero_cancels_no_digits(rng: np.random.Generator) -> None:
    """One unit in the last place of the mean is 3e-5 here; a variance from E[x^2] - E[x]^2 would be off by 1e-2."""
    x = normal(rng, 6, 1536) + np.float32(300)
    inputs = {"x": x, "shift": normal(rng, 2, 1536), "scale": normal(rng, 2, 1536)}
    check_op("layernorm_modulate", inputs, {"y": x.shape}, atol=6e-5, eps=1e-6)


def test_a_constant_row_is_its_shift(rng: np.random.Generator) -> None:
    x = np.full((4, 64), 3.0, np.float32)
    shift = normal(rng, 2, 64)
    actual = check_op("layernorm_modulate", {"x": x, "shift": shift, "scale": shift}, {"y": x.shape}, eps=1e-6)
    assert np.array_equal(actual["y"], shift.repeat(2, axis=0))
