"""Frames of a video that causal_conv3d takes and gives as they are, for the tests of the op and of its kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from penstock.kernels import reference_vae
from tests.helpers import Arrays, normal
from tests.ops.test_causal_conv3d import LAYERS, counter_of, normal_weight, ring_of

RANGES = ["signed", "unit"]


@dataclass(frozen=True)
class Input:
    """A layer whose x is pixels; has_past: whether earlier frames are in a ring, else they are zeros."""

    layer: str
    channels: tuple[int, int]
    has_past: bool
    frames: int = 2


INPUTS = [
    Input("residual block", (3, 8), True), Input("residual block", (3, 100), True, 1),
    Input("memory block", (1, 5), True, 3), Input("picture", (3, 7), True), Input("shortcut", (4, 3), False),
    Input("residual block", (3, 5), False), Input("down2d", (3, 16), False), Input("up2d", (3, 4), False),
    Input("pool", (5, 6), False, 4), Input("picture", (16, 64), False),
]  # fmt: skip


def draw_input(rng: np.random.Generator, case: Input) -> tuple[Arrays, Arrays, tuple[int, ...]]:
    """Inputs, updates and y's shape. The ring wraps, and is NaN where nothing may be read."""
    layer = LAYERS[case.layer]
    x_shape, y_shape = layer.shapes(case.channels, (int(rng.integers(1, 8)), int(rng.integers(1, 30))))
    inputs = {
        "x": rng.integers(0, 256, (case.frames + int(rng.integers(2)), *x_shape), np.uint8),
        "weight": normal_weight(rng, layer, case.channels),
        "bias": normal(rng, layer.interleave * case.channels[1]),
    }
    updates = {}
    if case.has_past:
        seen, size = int(rng.integers(50)), case.frames + layer.halo + int(rng.integers(3))
        inputs["x_frame"] = counter_of(seen)
        updates["past"] = ring_of(rng, x_shape, seen, 0, layer.halo, size)
    return inputs, updates, (layer.out_frames(case.frames), *y_shape)


# Layers whose y is pixels, with their channels.
OUTPUTS = [("residual block", (16, 3)), ("picture", (64, 3)), ("up2d", (32, 5)), ("shortcut", (5, 130))]


def draw_output(rng: np.random.Generator, name: str, channels: tuple[int, int]) -> tuple[Arrays, tuple[int, ...]]:
    """Inputs for 2 frames, and y's shape; numbers inside and outside of both ranges."""
    layer = LAYERS[name]
    x_shape, y_shape = layer.shapes(channels, (7, 9))
    seen = int(rng.integers(50))
    inputs = {
        "x": ring_of(rng, x_shape, seen, 2, layer.halo, 3 + layer.halo),
        "x_frame": counter_of(seen),
        "weight": normal_weight(rng, layer, channels),
        "bias": normal(rng, channels[1]),
    }
    return inputs, (layer.out_frames(2), *y_shape)


def check_pixels(name: str, inputs: Arrays, y: np.ndarray, y_range: str, slack: float = 1e-3) -> None:
    """The nearest integers to float64's numbers; ``slack``: how far the sums may be off, in steps of a pixel."""
    tensors = {role: torch.from_numpy(values) for role, values in inputs.items()}
    exact = {role: values.double() if values.is_floating_point() else values for role, values in tensors.items()}
    attributes = LAYERS[name].attributes
    expected = reference_vae.causal_conv3d(**exact, frames=2, activation="none", y_range=y_range, **attributes)["y"]
    assert np.abs(y - expected.numpy()).max() <= 0.5 + slack
    assert y.min() == 0 and y.max() == 255 and np.unique(y).size > 20
