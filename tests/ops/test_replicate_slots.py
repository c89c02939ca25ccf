"""replicate_slots: bits of slot 0 in every slot, over whatever stood there."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import in_bf16, normal, run_op


@pytest.mark.parametrize("shape", [(1, 3, 2, 5), (2, 7, 3, 10), (4, 600, 2, 128)])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_shape(rng: np.random.Generator, shape: tuple[int, ...], threads: int) -> None:
    x = in_bf16(normal(rng, *shape))
    x[1:] = np.nan
    x[0, -1] = np.nan  # poison in the unused part of slot 0 must not be touched, but copied
    actual = run_op("replicate_slots", {}, {}, {"x": x}, threads=threads)["x"]
    for slot in actual:
        assert slot.tobytes() == x[0].tobytes()
