"""The causal_conv3d kernel on the frames of a video: pixels in, and pixels out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.kernels.causal_conv3d import causal_conv3d
from tests.kernels.check import DEVICE, Tensors, check_kernel, every_dtype, poison, run_kernel, tensors_of
from tests.ops.pixel_frames import INPUTS, OUTPUTS, RANGES, Input, check_pixels, draw_input, draw_output
from tests.ops.test_causal_conv3d import LAYERS, counter_of

SAME = torch.eye(3).reshape(3, 1, 1, 1, 3)


@every_dtype
@pytest.mark.parametrize("x_range", RANGES)
@pytest.mark.parametrize("case", INPUTS, ids=str)
def test_pixels_in(rng: np.random.Generator, dtype: torch.dtype, case: Input, x_range: str) -> None:
    inputs, updates, y_shape = draw_input(rng, case)
    attributes = {"frames": case.frames, "activation": "relu", "x_range": x_range, **LAYERS[case.layer].attributes}

    def expected(tensors: Tensors) -> Tensors:
        return reference_vae.causal_conv3d(**tensors, **attributes)

    check_kernel(causal_conv3d, dtype, inputs, {"y": y_shape}, updates, expected=expected, **attributes)


@every_dtype
@pytest.mark.parametrize("x_range", RANGES)
def test_every_byte_is_the_nearest_number(dtype: torch.dtype, x_range: str) -> None:
    pixels = torch.arange(264).to(torch.uint8).reshape(1, 4, 22, 3)
    inputs = {"x": pixels, "weight": SAME.to(dtype), "x_frame": torch.from_numpy(counter_of(5))}
    outputs = {"y": poison(pixels.shape, dtype), "past": poison((2, 4, 22, 3), dtype)}
    made = run_kernel(causal_conv3d, inputs, outputs, frames=1, x_range=x_range)
    exact = pixels[0] / 127.5 - 1 if x_range == "signed" else pixels[0] / 255
    assert torch.equal(made["past"][1], exact.to(dtype)) and made["past"][0].isnan().all()


@every_dtype
@pytest.mark.parametrize("y_range", RANGES)
@pytest.mark.parametrize(("name", "channels"), OUTPUTS)
def test_pixels_out(rng: np.random.Generator, dtype: torch.dtype, name: str, channels: tuple[int, int],
                    y_range: str) -> None:  # fmt: skip
    """And raw, the numbers before rounding. Sums are f32 for every ``dtype``; a device takes float32 as TF32."""
    inputs, y_shape = draw_output(rng, name, channels)
    given = tensors_of(inputs, dtype)
    attributes = {"frames": 2, "activation": "none", **LAYERS[name].attributes}
    outputs = {"y": poison(y_shape, torch.uint8), "raw": poison((3, *y_shape[1:]), dtype)}
    made = run_kernel(causal_conv3d, given, outputs, y_range=y_range, **attributes)
    rounded = {role: (v.float() if v.is_floating_point() else v).numpy() for role, v in given.items()}
    check_pixels(
        name, rounded, made["y"].numpy(), y_range, 0.25 if DEVICE == "cuda" and dtype == torch.float32 else 1e-3
    )
    floats = run_kernel(causal_conv3d, given, {"y": poison(y_shape, dtype)}, **attributes)["y"]
    assert torch.equal(made["raw"][:2], floats) and made["raw"][2].isnan().all()


@every_dtype
@pytest.mark.parametrize("value_range", RANGES)
def test_bytes_come_back(dtype: torch.dtype, value_range: str) -> None:
    pixels = torch.arange(264).to(torch.uint8).reshape(1, 4, 22, 3)
    y = run_kernel(causal_conv3d, {"x": pixels, "weight": SAME.to(dtype)}, {"y": poison(pixels.shape, torch.uint8)},
                   frames=1, x_range=value_range, y_range=value_range)["y"]  # fmt: skip
    assert torch.equal(y, pixels)


@pytest.mark.filterwarnings("ignore:invalid value")  # infinity times 0, in the interpreter
def test_ties_go_to_even_and_nan_to_zero() -> None:
    x = torch.tensor([127.5 / 255, 128.5 / 255, -1, 2, -np.inf, np.inf, np.nan, 0, 1]).reshape(1, 3, 3, 1)
    y = run_kernel(causal_conv3d, {"x": x, "weight": SAME[:1, ..., :1].contiguous()},
                   {"y": poison(x.shape, torch.uint8)}, frames=1, y_range="unit")["y"]  # fmt: skip
    assert y.flatten().tolist() == [128, 128, 0, 255, 0, 255, 0, 0, 255]
