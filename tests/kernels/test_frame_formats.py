"""The kernels around the video autoencoders: 8-bit frames, latents, and the counters of rings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.kernels.advance_frames import advance_frames
from penstock.kernels.frames_to_tensor import frames_to_tensor
from penstock.kernels.latents_to_tensor import latents_to_tensor
from penstock.kernels.tensor_to_frames import tensor_to_frames
from penstock.kernels.tensor_to_latents import tensor_to_latents
from tests.helpers import normal
from tests.kernels.check import Tensors, check_kernel, every_dtype, poison, run_kernel
from tests.ops.test_causal_conv3d import counter_of, ring_of

RANGES = ["signed", "unit"]
SHAPE = (3, 9, 83, 3)  # more than a block of elements, and a ragged end


def to_frames(x: torch.Tensor, value_range: str) -> torch.Tensor:
    outputs = {"frames": poison(x.shape, torch.uint8)}
    return run_kernel(tensor_to_frames, {"x": x}, outputs, skip=0, value_range=value_range)["frames"]


@pytest.mark.parametrize("value_range", RANGES)
@pytest.mark.parametrize("counter", [None, 5])
@every_dtype
def test_frames_to_tensor(rng: np.random.Generator, value_range: str, counter: int | None, dtype: torch.dtype) -> None:
    inputs = {"frames": torch.from_numpy(rng.integers(0, 256, SHAPE, np.uint8))}
    if counter is not None:
        inputs["y_frame"] = torch.tensor([counter])
    y_frames = 3 if counter is None else 4
    y = run_kernel(frames_to_tensor, inputs, {"y": poison((y_frames, *SHAPE[1:]), dtype)}, value_range=value_range)["y"]
    exact = reference_vae.frames_to_tensor(**inputs, value_range=value_range, dtype=torch.float32, y_frames=y_frames)
    assert torch.equal(y.nan_to_num(9), exact["y"].to(dtype).nan_to_num(9))


@pytest.mark.parametrize("value_range", RANGES)
def test_tensor_to_frames(rng: np.random.Generator, value_range: str) -> None:
    """The nearest integer, of the frames 3 and 4 of a ring that wraps."""
    x = torch.from_numpy(ring_of(rng, SHAPE[1:], 16, 2, 0, 6)) * 0.7
    inputs = {"x": x, "x_frame": torch.tensor([13])}
    outputs = {"frames": poison((2, *SHAPE[1:]), torch.uint8)}
    frames = run_kernel(tensor_to_frames, inputs, outputs, skip=3, value_range=value_range)["frames"]
    exact = reference_vae.tensor_to_frames(x.double(), 5, 3, value_range, inputs["x_frame"])
    assert (frames - exact).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize("value_range", RANGES)
@every_dtype
def test_bytes_come_back(value_range: str, dtype: torch.dtype) -> None:
    frames = torch.arange(264).to(torch.uint8).reshape(1, 4, 22, 3)
    values = run_kernel(
        frames_to_tensor, {"frames": frames}, {"y": poison(frames.shape, dtype)}, value_range=value_range
    )["y"]
    assert torch.equal(to_frames(values, value_range), frames)


def test_ties_go_to_even_and_nan_to_zero() -> None:
    x = torch.tensor([127.5 / 255, 128.5 / 255, -1, 2, -np.inf, np.inf, np.nan, 0, 1]).reshape(1, 1, 3, 3)
    assert to_frames(x, "unit").flatten().tolist() == [128, 128, 0, 255, 0, 255, 0, 0, 255]


@pytest.mark.parametrize("clamp", ["none", "tanh3"])
@pytest.mark.parametrize("shape", [(1, 16, 9, 17), (2, 3, 1, 5), (1, 20, 3, 3)])
@every_dtype
@pytest.mark.parametrize("given", [True, False])
def test_latents_to_tensor(
    rng: np.random.Generator, dtype: torch.dtype, clamp: str, shape: tuple[int, ...], given: bool
) -> None:
    inputs = {"latents": 3 * normal(rng, *shape), "y_frame": counter_of(7)}
    if given:
        inputs |= {"mean": normal(rng, shape[1]), "std": normal(rng, shape[1])}

    def expected(tensors: Tensors) -> Tensors:
        return reference_vae.latents_to_tensor(**tensors, clamp=clamp, y_frames=4)

    outputs = {"y": (4, *shape[2:], shape[1])}
    check_kernel(latents_to_tensor, dtype, inputs, outputs, expected=expected, clamp=clamp)


@pytest.mark.parametrize("shape", [(1, 16, 9, 17), (2, 3, 1, 5), (1, 20, 3, 3)])
@every_dtype
@pytest.mark.parametrize("given", [True, False])
def test_tensor_to_latents(rng: np.random.Generator, dtype: torch.dtype, shape: tuple[int, ...], given: bool) -> None:
    frames, channels, *picture = shape
    inputs = {"x": ring_of(rng, (*picture, channels), 6, frames, 0, 4), "x_frame": counter_of(6)}
    if given:
        inputs |= {"mean": normal(rng, channels), "std": rng.uniform(1, 3, channels).astype(np.float32)}

    def expected(tensors: Tensors) -> Tensors:
        return reference_vae.tensor_to_latents(**tensors, frames=frames)

    check_kernel(tensor_to_latents, dtype, inputs, {"latents": shape}, expected=expected)


@pytest.mark.parametrize(
    ("seen", "count", "after"),
    [(0, 1, 1), (5, 4, 9), (2**40, 4, 2**40 + 4), (2**63 - 5, 4, 2**63 - 1), (2**63 - 4, 4, 2**63 - 4), (-3, 4, -3)],
)
def test_counters_stay_in_range(seen: int, count: int, after: int) -> None:
    frame = {"frame": torch.tensor([seen])}
    assert run_kernel(advance_frames, {}, frame, count=count)["frame"].item() == after
