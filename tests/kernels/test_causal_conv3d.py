"""The causal_conv3d kernel: all kinds of layers on rings and on plain tensors, and every class of channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.kernels.causal_conv3d import causal_conv3d, tile
from tests.helpers import Arrays, normal
from tests.kernels.check import DEVICE, Tensors, check_kernel, every_dtype
from tests.ops.test_causal_conv3d import LAYERS, NORMS, Layer, counter_of, norm_inputs, normal_weight, ring_of

# Some of every class of input and output channels, with ragged columns.
CHANNELS = {
    (3, 100): "residual block", (5, 3): "up2d", (16, 3): "residual block", (16, 30): "memory block",
    (32, 64): "shortcut", (32, 96): "pool", (64, 150): "shortcut", (96, 96): "pool", (96, 17): "shortcut",
    (64, 192): "up3d in time", (128, 32): "shortcut",
}  # fmt: skip


def check_conv(dtype: torch.dtype, inputs: Arrays, y_shape: tuple[int, ...], raw_frames: int | None = None,
               **attributes: int | str) -> None:  # fmt: skip
    def expected(given: Tensors) -> Tensors:
        """On the device: its convolutions round float32 to TF32, as the kernel's products do."""
        with torch.device(DEVICE):
            placed = {role: values.to(DEVICE) for role, values in given.items()}
            outputs = reference_vae.causal_conv3d(**placed, y_frames=y_shape[0], raw_frames=raw_frames, **attributes)
        return {role: values.cpu() for role, values in outputs.items()}

    outputs = {"y": y_shape} | ({"raw": (raw_frames, *y_shape[1:])} if raw_frames else {})
    check_kernel(causal_conv3d, dtype, inputs, outputs, expected=expected, **attributes)


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


@every_dtype
@pytest.mark.parametrize(("has_norm", "has_raw", "activation"), NORMS)
def test_norm_and_raw(rng: np.random.Generator, dtype: torch.dtype, has_norm: bool, has_raw: bool,
                      activation: str) -> None:  # fmt: skip
    layer, channels = (LAYERS["pool"], (32, 96)) if has_norm else (LAYERS["up2d"], (16, 8))
    inputs, y_shape, raw_frames = norm_inputs(rng, layer, channels, (3, 5), 2, has_norm, has_raw)
    check_conv(dtype, inputs, y_shape, raw_frames, frames=2, activation=activation, **layer.attributes)


def test_norm_needs_all_channels_in_a_program() -> None:
    x, weight, y = (torch.zeros(shape) for shape in ((1, 1, 1, 16), (384, 1, 1, 1, 16), (1, 1, 1, 384)))
    with pytest.raises(ValueError, match="a norm over 384 channels, but a program has 192"):
        causal_conv3d(x, weight, y, 1, gamma=torch.zeros(384))


@pytest.mark.parametrize("inputs", range(16, 1025, 16))
def test_steps_end_with_a_tap(inputs: int) -> None:
    constants, _, _ = tile(inputs, 96)
    assert inputs % (constants["BLOCK_K"] * constants["UNROLL"]) == 0
