"""The causal_conv3d kernel: all kinds of layers on rings and on plain tensors, and every class of channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.kernels.causal_conv3d import causal_conv3d, tile
from tests.helpers import Arrays, normal
from tests.kernels.check import DEVICE, Tensors, check_kernel, every_dtype
from tests.ops.test_causal_conv3d import LAYERS, Layer, counter_of, normal_weight, ring_of

# Some of every class of input and output channels, with ragged columns.
CHANNELS = {
    (3, 100): "residual block", (5, 3): "up2d", (16, 3): "residual block", (16, 30): "memory block",
    (32, 64): "shortcut", (32, 96): "pool", (64, 150): "shortcut", (96, 96): "pool", (96, 17): "shortcut",
    (64, 192): "up3d in time", (128, 32): "shortcut",
}  # fmt: skip


def check_conv(dtype: torch.dtype, inputs: Arrays, y_shape: tuple[int, ...], **attributes: int | str) -> None:
    def expected(given: Tensors) -> Tensors:
        """On the device: its convolutions round float32 to TF32, as the kernel's products do."""
        with torch.device(DEVICE):
            placed = {role: values.to(DEVICE) for role, values in given.items()}
            y = reference_vae.causal_conv3d(**placed, y_frames=y_shape[0], **attributes)["y"]
        return {"y": y.cpu()}

    check_kernel(causal_conv3d, dtype, inputs, {"y": y_shape}, expected=expected, **attributes)


def check_on_rings(
    rng: np.random.Generator, dtype: torch.dtype, layer: Layer, channels: tuple[int, int], picture: tuple[int, int]
) -> None:
    """Bias, residual and activation; x, residual and y in rings that wrap, with NaN in all other frames."""
    frames = layer.time_stride
    x_shape, y_shape = layer.shapes(channels, picture)
    seen = rng.integers(0, 50, 3)
    out = layer.out_frames(frames)
    inputs = {
        "x": ring_of(rng, x_shape, seen[0], frames, layer.halo, frames + layer.halo + int(rng.integers(3))),
        "x_frame": counter_of(seen[0]),
        "weight": normal_weight(rng, layer, channels),
        "bias": normal(rng, layer.interleave * channels[1]),
        "residual": ring_of(rng, y_shape, seen[1], out, 0, out + int(rng.integers(3))),
        "residual_frame": counter_of(seen[1]),
        "y_frame": counter_of(seen[2]),
    }
    check_conv(
        dtype, inputs, (out + int(rng.integers(3)), *y_shape), frames=frames, activation="relu", **layer.attributes
    )


@every_dtype
@pytest.mark.parametrize("channels", [(5, 7), (16, 8)])
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "all at once"])
def test_every_layer_on_rings(
    rng: np.random.Generator, dtype: torch.dtype, name: str, channels: tuple[int, int]
) -> None:
    check_on_rings(rng, dtype, LAYERS[name], channels, (int(rng.integers(1, 6)), int(rng.integers(1, 8))))


@every_dtype
@pytest.mark.parametrize("channels", CHANNELS)
def test_every_class_of_channels(rng: np.random.Generator, dtype: torch.dtype, channels: tuple[int, int]) -> None:
    check_on_rings(rng, dtype, LAYERS[CHANNELS[channels]], channels, (3, 5))


@every_dtype
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_on_plain_tensors(rng: np.random.Generator, dtype: torch.dtype, name: str) -> None:
    """Without counters, the frames before the first are zeros; bias and residual are absent."""
    layer = LAYERS[name]
    channels = (3, 5) if name == "all at once" else (16, 5)
    x_shape, y_shape = layer.shapes(channels, (5, 3))
    inputs = {"x": normal(rng, 2, *x_shape), "weight": normal_weight(rng, layer, channels)}
    check_conv(dtype, inputs, (layer.out_frames(2), *y_shape), frames=2, activation="none", **layer.attributes)


@every_dtype
def test_more_pixels_than_a_block(rng: np.random.Generator, dtype: torch.dtype) -> None:
    layer = LAYERS["residual block"]
    inputs = {"x": normal(rng, 3, 17, 19, 16), "x_frame": counter_of(2**62 + 1),
              "weight": normal_weight(rng, layer, (16, 16))}  # fmt: skip
    check_conv(dtype, inputs, (1, 17, 19, 16), frames=1, activation="none", **layer.attributes)


@every_dtype
def test_nan_passes_the_activation(rng: np.random.Generator, dtype: torch.dtype) -> None:
    layer = LAYERS["shortcut"]
    inputs = {"x": normal(rng, 1, 2, 2, 16), "weight": normal_weight(rng, layer, (16, 4))}
    inputs["x"][0, 1, 1, 0] = np.nan
    check_conv(dtype, inputs, (1, 2, 2, 4), frames=1, activation="relu", **layer.attributes)


@pytest.mark.parametrize("inputs", range(16, 1025, 16))
def test_steps_end_with_a_tap(inputs: int) -> None:
    constants, _, _ = tile(inputs, 96)
    assert inputs % (constants["BLOCK_K"] * constants["UNROLL"]) == 0
