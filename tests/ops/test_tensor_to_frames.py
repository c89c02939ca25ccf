"""tensor_to_frames: rounding, clamping, and that bytes come back as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, assert_same_bits, in_bf16, normal, run_op

RANGES = ["signed", "unit"]


def convert(inputs: Arrays, shape: tuple[int, ...], value_range: str, skip: int = 0) -> np.ndarray:
    outputs = {"frames": np.empty(shape, np.uint8)}
    attributes = {"frames": shape[0] + skip, "skip": skip, "range": value_range}
    actual = run_op("tensor_to_frames", inputs, outputs, **attributes)
    assert_same_bits(run_op("tensor_to_frames", inputs, outputs, threads=2, **attributes), actual, "for 2 threads")
    return actual["frames"]


@pytest.mark.parametrize("value_range", RANGES)
def test_rounding_and_clamping(rng: np.random.Generator, value_range: str) -> None:
    """The nearest integer; where the value is so near a tie that float32 decides, one of the two."""
    x = in_bf16(normal(rng, 3, 9, 11, 3) * np.float32(0.7))
    exact = reference_vae.tensor_to_frames(torch.from_numpy(x).double(), 3, 0, value_range).numpy()
    frames = convert({"x": x}, x.shape, value_range)
    assert np.abs(frames - exact).max() <= 0.5 + 1e-4
    assert frames.min() == 0 and frames.max() == 255


@pytest.mark.parametrize("value_range", RANGES)
def test_bytes_come_back(value_range: str) -> None:
    frames = np.resize(np.arange(256, dtype=np.uint8), (1, 4, 22, 3))
    x = run_op("frames_to_tensor", {"frames": frames}, {"y": frames.shape}, range=value_range)["y"]
    assert np.array_equal(convert({"x": x}, frames.shape, value_range), frames)


def test_ties_go_to_even_and_nan_to_zero() -> None:
    values = np.array([0.5, 1.5, 2.5, 127.5, -300, 600, -np.inf, np.inf, np.nan], np.float32)
    signed, unit = (convert({"x": np.resize(x.astype(np.float32), (1, 1, 3, 3))}, (1, 1, 3, 3), value_range).ravel()
                    for value_range, x in (("signed", values / 127.5 - 1), ("unit", values / 255)))  # fmt: skip
    assert list(unit[3:]) == [128, 0, 255, 0, 255, 0]
    assert list(signed[3:]) == [128, 0, 255, 0, 255, 0]
    assert unit[0] in (0, 1) and unit[1] in (1, 2) and unit[2] in (2, 3)  # not exactly ties any more


def test_frames_are_skipped_on_a_ring_that_wraps(rng: np.random.Generator) -> None:
    x = np.full((6, 3, 5, 3), np.nan, np.float32)
    for frame in range(13, 18):
        x[frame % 6] = in_bf16(normal(rng, 3, 5, 3))
    counter = np.array([13])
    frames = convert({"x": x, "x_frame": counter}, (2, 3, 5, 3), "unit", skip=3)
    exact = reference_vae.tensor_to_frames(torch.from_numpy(x).double(), 5, 3, "unit", torch.from_numpy(counter))
    assert np.abs(frames - exact.numpy()).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("x_frames", "frames", "skip", "counter", "message"),
    [
        (4, 2, 1, 0, "as many frames"),
        (2, 3, 1, 0, "x has 2 frames, needs 3"),
        (3, 3, 1, -1, "x_frame is -1"),
        (3, 3, -1, 0, "skip"),
    ],
)
def test_what_does_not_fit_is_an_error(x_frames: int, frames: int, skip: int, counter: int, message: str) -> None:
    inputs = {"x": np.zeros((x_frames, 3, 3, 3), np.float32), "x_frame": np.array([counter])}
    outputs = {"frames": np.empty((2 if message != "as many frames" else 3, 3, 3, 3), np.uint8)}
    with pytest.raises(PenstockError, match=message):
        run_op("tensor_to_frames", inputs, outputs, frames=frames, skip=skip, range="unit")
