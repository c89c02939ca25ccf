"""frames_to_tensor against float64: every value of a byte."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, check_op, run_op


def check_frames(inputs: Arrays, y_frames: int, value_range: str) -> np.ndarray:
    def expected(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return reference_vae.frames_to_tensor(
            **tensors, value_range=value_range, dtype=torch.float64, y_frames=y_frames
        )

    outputs = {"y": (y_frames, *inputs["frames"].shape[1:])}
    return check_op("frames_to_tensor", inputs, outputs, expected=expected, range=value_range)["y"]


@pytest.mark.parametrize("value_range", ["signed", "unit"])
def test_every_byte(rng: np.random.Generator, value_range: str) -> None:
    frames = np.resize(rng.permutation(256), (2, 7, 25, 3)).astype(np.uint8)
    y = check_frames({"frames": frames}, 2, value_range)
    assert y.min() == (-1 if value_range == "signed" else 0) and y.max() == 1


def test_a_ring_that_wraps(rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (3, 5, 3, 3), np.uint8)
    check_frames({"frames": frames, "y_frame": np.array([13])}, 5, "signed")


def test_what_does_not_fit_is_an_error() -> None:
    inputs = {"frames": np.zeros((2, 3, 3, 3), np.uint8)}
    with pytest.raises(PenstockError, match="y has 1 frames, needs 2"):
        run_op("frames_to_tensor", inputs, {"y": (1, 3, 3, 3)}, range="unit")
    with pytest.raises(PenstockError, match="y_frame is -2"):
        run_op("frames_to_tensor", inputs | {"y_frame": np.array([-2])}, {"y": (2, 3, 3, 3)}, range="unit")
