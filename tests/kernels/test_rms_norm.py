"""The rms_norm kernel against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels.rms_norm import rms_norm
from tests.helpers import normal
from tests.kernels.check import check_kernel, every_dtype


@every_dtype
@pytest.mark.parametrize(("rows", "d"), [(1, 16), (7, 48), (3, 256), (2, 1536)])
def test_every_shape(rng: np.random.Generator, dtype: torch.dtype, rows: int, d: int) -> None:
    x = normal(rng, rows, d) * np.float32(3)
    check_kernel(rms_norm, dtype, {"x": x, "weight": normal(rng, d)}, {"y": x.shape}, eps=1e-6)
