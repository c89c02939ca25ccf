"""rms_norm against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import check_op, normal


@pytest.mark.parametrize(("rows", "dim"), [(1, 1), (7, 48), (3, 257), (512, 1536), (1560, 1536)])
def test_every_shape(rng: np.random.Generator, rows: int, dim: int) -> None:
    x = normal(rng, rows, dim) * np.float32(3)
    check_op("rms_norm", {"x": x, "weight": normal(rng, dim)}, {"y": x.shape}, eps=1e-6)


def test_eps_keeps_small_rows_finite(rng: np.random.Generator) -> None:
    """Rows around sqrt(eps), where eps decides half of the value, and one of zeros."""
    x = normal(rng, 4, 64) * np.float32(1e-3)
    x[2] = 0.0
    actual = check_op("rms_norm", {"x": x, "weight": normal(rng, 64)}, {"y": x.shape}, eps=1e-6)
    assert not actual["y"][2].any()
