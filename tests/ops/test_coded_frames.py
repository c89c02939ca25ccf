"""Frames in 8-bit floats: causal_conv3d and rms_silu against float64 on what the codes stand for."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from tests.helpers import normal, run_op
from tests.ops.coded_frames import (
    CONVOLUTIONS,
    check_convolution,
    check_norm,
    draw_convolution,
    draw_norm,
    numbers_of,
    poisoned,
)
from tests.ops.test_causal_conv3d import LAYERS, SMALL, small_inputs


@pytest.mark.parametrize("activation", ["silu", "relu", "none"])
@pytest.mark.parametrize(("name", "channels", "x_codes", "y_codes", "has_norm", "has_raw"), CONVOLUTIONS)
def test_convolutions(rng: np.random.Generator, name: str, channels: tuple[int, int], x_codes: bool, y_codes: bool,
                      has_norm: bool, has_raw: bool, activation: str) -> None:  # fmt: skip
    layer = LAYERS[name]
    inputs, y_shape, raw_frames = draw_convolution(rng, layer, channels, x_codes, y_codes, has_norm, has_raw)
    outputs = {"y": poisoned(y_shape, y_codes)} | ({"raw": (raw_frames, *y_shape[1:])} if raw_frames else {})
    result = run_op("causal_conv3d", inputs, outputs, threads=2, runs=2, frames=2, activation=activation,
                    **layer.attributes)  # fmt: skip
    check_convolution(layer, inputs, result, raw_frames, activation)


def test_a_production_width(rng: np.random.Generator) -> None:
    """Several blocks of pixels, of channels and of depth."""
    layer = LAYERS["residual block"]
    inputs, y_shape, _ = draw_convolution(rng, layer, (192, 384), True, True, True, False)
    inputs |= {role: np.tile(inputs[role], (1, 5, 31, 1)) for role in ("x", "residual")}
    y_shape = (y_shape[0], *inputs["residual"].shape[1:])
    result = run_op("causal_conv3d", inputs, {"y": poisoned(y_shape, True)}, frames=2, activation="silu",
                    **layer.attributes)  # fmt: skip
    check_convolution(layer, inputs, result, None, "silu")


@pytest.mark.parametrize("shape", [(4, 1, 1, 1), (4, 3, 5, 24), (5, 13, 31, 96), (4, 9, 7, 384)])
def test_norms(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    inputs = draw_norm(rng, shape)
    result = run_op("rms_silu", inputs, {"y": poisoned((5, *shape[1:]), True)}, threads=2, runs=2, frames=3,
                    activation="silu")  # fmt: skip
    check_norm(inputs, result["y"], 3)


def test_nan_stays(rng: np.random.Generator) -> None:
    inputs = draw_norm(rng, (4, 2, 2, 32))
    inputs["x"][7 % 4, 1, 0, 5] = np.nan
    y = run_op("rms_silu", inputs, {"y": poisoned((5, 2, 2, 32), True)}, frames=1, activation="silu")["y"]
    made = numbers_of(y[11 % 5])
    assert np.isnan(made[1, 0]).all() and np.isnan(made).sum() == 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sum_scale": (2,)}, r"x .*: expected .* u8, got .* compute"),
        ({"y_scale": (1,)}, r"y .*: expected .* u8, got .* compute"),
        ({"y_scale": (2,)}, r"y_scale .*: expected \[1\] f32, got \[2\] f32|y .*: expected .* u8"),
    ],
)
def test_codes_without_their_type_are_an_error(rng: np.random.Generator, change: dict, message: str) -> None:
    inputs = small_inputs(rng) | {role: abs(normal(rng, *shape)) for role, shape in change.items()}
    with pytest.raises(PenstockError, match=message):
        run_op("causal_conv3d", inputs, {"y": (2, 3, 3, 2)}, **SMALL)


def test_bytes_without_a_scale_are_an_error(rng: np.random.Generator) -> None:
    inputs = small_inputs(rng)
    inputs["x"] = np.zeros(inputs["x"].shape, np.uint8)
    with pytest.raises(PenstockError, match=r"x .*: expected .* compute, got .* u8"):
        run_op("causal_conv3d", inputs, {"y": (2, 3, 3, 2)}, **SMALL)
