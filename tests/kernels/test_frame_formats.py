"""The kernels around the video autoencoders: 8-bit frames, latents, and the counters of rings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import advance_frames, frames_to_tensor, latents_to_tensor, reference_vae, tensor_to_frames
from penstock.kernels import tensor_to_latents as tensor_to_latents_kernel
from tests.helpers import normal
from tests.kernels.checks import Tensors, check, poison
from tests.ops.test_causal_conv3d import counter_of, ring_of

RANGES = ["signed", "unit"]
SHAPE = (3, 9, 83, 3)  # more than a block of elements, and a ragged end


@pytest.mark.parametrize("value_range", RANGES)
@pytest.mark.parametrize("counter", [None, 5])
def test_frames_to_tensor(rng: np.random.Generator, value_range: str, counter: int | None) -> None:
    frames = torch.from_numpy(rng.integers(0, 256, SHAPE, np.uint8))
    y_frame = None if counter is None else torch.tensor([counter])
    y_frames = 3 if counter is None else 4
    for dtype in (torch.float32, torch.float16):
        y = poison((y_frames, *SHAPE[1:]), dtype)
        frames_to_tensor.frames_to_tensor(frames, y, value_range, y_frame)
        exact = reference_vae.frames_to_tensor(frames, value_range, torch.float32, y_frame, y_frames)["y"]
        assert torch.equal(y.nan_to_num(9), exact.to(dtype).nan_to_num(9))


@pytest.mark.parametrize("value_range", RANGES)
def test_tensor_to_frames(rng: np.random.Generator, value_range: str) -> None:
    """The nearest integer, of the frames 3 and 4 of a ring that wraps."""
    x = torch.from_numpy(ring_of(rng, SHAPE[1:], 16, 2, 0, 6)) * 0.7
    frames = poison((2, *SHAPE[1:]), torch.uint8)
    counter = torch.tensor([13])
    tensor_to_frames.tensor_to_frames(x, frames, 3, value_range, counter)
    exact = reference_vae.tensor_to_frames(x.double(), 5, 3, value_range, counter)
    assert (frames - exact).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize("value_range", RANGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_bytes_come_back(value_range: str, dtype: torch.dtype) -> None:
    frames = torch.arange(264).to(torch.uint8).reshape(1, 4, 22, 3)
    x, back = poison(frames.shape, dtype), poison(frames.shape, torch.uint8)
    frames_to_tensor.frames_to_tensor(frames, x, value_range)
    tensor_to_frames.tensor_to_frames(x, back, 0, value_range)
    assert torch.equal(back, frames)


def test_ties_go_to_even_and_nan_to_zero() -> None:
    x = torch.tensor([127.5 / 255, 128.5 / 255, -1, 2, -np.inf, np.inf, np.nan, 0, 1]).reshape(1, 1, 3, 3)
    frames = poison(x.shape, torch.uint8)
    tensor_to_frames.tensor_to_frames(x, frames, 0, "unit")
    assert frames.flatten().tolist() == [128, 128, 0, 255, 0, 255, 0, 0, 255]


@pytest.mark.parametrize("clamp", ["none", "tanh3"])
@pytest.mark.parametrize("shape", [(1, 16, 9, 17), (2, 3, 1, 5), (1, 20, 3, 3)])
@pytest.mark.parametrize("given", [True, False])
def test_latents_to_tensor(rng: np.random.Generator, clamp: str, shape: tuple[int, ...], given: bool) -> None:
    inputs = {"latents": 3 * normal(rng, *shape), "y_frame": counter_of(7)}
    if given:
        inputs |= {"mean": normal(rng, shape[1]), "std": normal(rng, shape[1])}

    def launch(tensors: Tensors, written: Tensors) -> None:
        latents_to_tensor.latents_to_tensor(**tensors, **written, clamp=clamp)

    def expected(tensors: Tensors) -> Tensors:
        return reference_vae.latents_to_tensor(**tensors, clamp=clamp, y_frames=4)

    check(launch, expected, inputs, {"y": (4, *shape[2:], shape[1])}, keep=("latents", "mean", "std"))


@pytest.mark.parametrize("shape", [(1, 16, 9, 17), (2, 3, 1, 5), (1, 20, 3, 3)])
@pytest.mark.parametrize("given", [True, False])
def test_tensor_to_latents(rng: np.random.Generator, shape: tuple[int, ...], given: bool) -> None:
    frames, channels, *picture = shape
    inputs = {"x": ring_of(rng, (*picture, channels), 6, frames, 0, 4), "x_frame": counter_of(6)}
    if given:
        inputs |= {"mean": normal(rng, channels), "std": rng.uniform(1, 3, channels).astype(np.float32)}

    def launch(tensors: Tensors, written: Tensors) -> None:
        tensor_to_latents_kernel.tensor_to_latents(**tensors, **written)

    def expected(tensors: Tensors) -> Tensors:
        return reference_vae.tensor_to_latents(**tensors, frames=frames)

    check(launch, expected, inputs, {"latents": shape}, keep=("latents", "mean", "std"))


@pytest.mark.parametrize(
    ("seen", "count", "after"),
    [(0, 1, 1), (5, 4, 9), (2**40, 4, 2**40 + 4), (2**63 - 5, 4, 2**63 - 1), (2**63 - 4, 4, 2**63 - 4), (-3, 4, -3)],
)
def test_counters_stay_in_range(seen: int, count: int, after: int) -> None:
    frame = torch.tensor([seen])
    advance_frames.advance_frames(frame, count)
    assert frame.item() == after
