"""The kernels around the video autoencoders: latents, and the counters of rings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.kernels.advance_frames import advance_frames
from penstock.kernels.latents_to_tensor import latents_to_tensor
from penstock.kernels.tensor_to_latents import tensor_to_latents
from tests.helpers import normal
from tests.kernels.check import Tensors, check_kernel, every_dtype, run_kernel
from tests.ops.test_causal_conv3d import counter_of, ring_of


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
