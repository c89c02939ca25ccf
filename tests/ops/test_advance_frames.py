"""advance_frames: a count that a long stream does not lose."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from tests.helpers import run_op


@pytest.mark.parametrize(("frame", "count"), [(0, 1), (5, 4), (2**40, 3), (2**63 - 5, 4)])
def test_the_count_goes_on(frame: int, count: int) -> None:
    actual = run_op("advance_frames", {}, {}, {"frame": np.array([frame])}, count=count)
    assert actual["frame"][0] == frame + count


@pytest.mark.parametrize(("frame", "count"), [(-1, 1), (2**63 - 1, 1), (2**63 - 4, 4)])
def test_what_does_not_fit_is_an_error(frame: int, count: int) -> None:
    with pytest.raises(PenstockError, match=f"frame is {frame}, must be from 0 to"):
        run_op("advance_frames", {}, {}, {"frame": np.array([frame])}, count=count)
