"""causal_conv3d on the frames of a video: pixels in, with what later calls find of them, and pixels out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, assert_same_bits, check_op, normal, relative_l2, run_op
from tests.ops.pixel_frames import INPUTS, OUTPUTS, RANGES, Input, check_pixels, draw_input, draw_output
from tests.ops.test_causal_conv3d import LAYERS, SMALL, counter_of, normal_weight, ring_of

POINT = {"frames": 1, **LAYERS["shortcut"].attributes, "activation": "none"}
SAME = np.eye(3, dtype=np.float32).reshape(3, 1, 1, 1, 3)


@pytest.mark.parametrize("x_range", RANGES)
@pytest.mark.parametrize("case", INPUTS, ids=str)
def test_pixels_in(rng: np.random.Generator, case: Input, x_range: str) -> None:
    """y, and past with the new frames; what may not be read there is NaN, and stays so."""
    inputs, updates, y_shape = draw_input(rng, case)
    attributes = {"frames": case.frames, "activation": "relu", "x_range": x_range, **LAYERS[case.layer].attributes}

    def expected(tensors: dict[str, torch.Tensor]) -> reference_vae.Outputs:
        return reference_vae.causal_conv3d(**tensors, **attributes)

    check_op("causal_conv3d", inputs, {"y": y_shape}, updates, expected=expected, **attributes)


@pytest.mark.parametrize("x_range", RANGES)
def test_every_byte_is_the_nearest_float(x_range: str) -> None:
    pixels = np.resize(np.arange(256, dtype=np.uint8), (1, 4, 22, 3))
    inputs = {"x": pixels, "weight": SAME, "x_frame": counter_of(5)}
    past = np.full((2, 4, 22, 3), np.nan, np.float32)
    made = run_op("causal_conv3d", inputs, {"y": pixels.shape}, {"past": past}, x_range=x_range, **POINT)
    exact = pixels.astype(np.float32)
    exact = exact / np.float32(127.5) - np.float32(1) if x_range == "signed" else exact / np.float32(255)
    assert np.array_equal(made["past"][5 % 2], exact[0]) and np.array_equal(made["y"], exact)
    assert np.isnan(made["past"][0]).all()


def test_a_stream_equals_the_whole_clip(rng: np.random.Generator) -> None:
    """Calls of different lengths; the ring begins as zeros, which are the causal padding, and not as pixels."""
    layer, calls = LAYERS["residual block"], [1, 3, 3, 2, 3]
    clip = rng.integers(0, 256, (sum(calls), 5, 4, 3), np.uint8)
    weight = normal_weight(rng, layer, (3, 6))
    past, seen, outputs = np.zeros((5, 5, 4, 3), np.float32), 0, []
    for frames in calls:
        inputs = {"x": clip[seen : seen + frames], "x_frame": counter_of(seen), "weight": weight}
        made = run_op("causal_conv3d", inputs, {"y": (frames, 5, 4, 6)}, {"past": past}, **SMALL | {"frames": frames},
                      x_range="signed")  # fmt: skip
        past, seen = made["past"], seen + frames
        outputs.append(made["y"])
    numbers = torch.from_numpy(clip).double() / 127.5 - 1
    padded = torch.cat([torch.zeros(2, 5, 4, 3, dtype=torch.float64), numbers])
    whole = reference_vae.convolve(padded, torch.from_numpy(weight).double(), None, **layer.attributes)
    assert relative_l2(np.concatenate(outputs), whole) < 1e-6


@pytest.mark.parametrize("y_range", RANGES)
@pytest.mark.parametrize(("name", "channels"), OUTPUTS)
def test_pixels_out(rng: np.random.Generator, name: str, channels: tuple[int, int], y_range: str) -> None:
    """And raw, the numbers before rounding, in a ring."""
    inputs, y_shape = draw_output(rng, name, channels)
    attributes = {"frames": 2, "activation": "none", "y_range": y_range, **LAYERS[name].attributes}
    outputs = {"y": np.empty(y_shape, np.uint8), "raw": (3, *y_shape[1:])}
    made = run_op("causal_conv3d", inputs | {"raw_frame": counter_of(2)}, outputs, threads=2, runs=2, **attributes)
    check_pixels(name, inputs, made["y"], y_range)
    alone = run_op("causal_conv3d", inputs, {"y": np.empty(y_shape, np.uint8)}, **attributes)
    assert_same_bits(alone, {"y": made["y"]}, "without raw")
    floats = run_op("causal_conv3d", inputs, {"y": y_shape}, **attributes | {"y_range": "none"})["y"]
    assert np.array_equal(np.concatenate([made["raw"][2:], made["raw"][:1]]), floats)
    assert np.isnan(made["raw"][1]).all()


@pytest.mark.parametrize("value_range", RANGES)
def test_bytes_come_back(value_range: str) -> None:
    pixels = np.resize(np.arange(256, dtype=np.uint8), (1, 4, 22, 3))
    y = run_op("causal_conv3d", {"x": pixels, "weight": SAME}, {"y": np.empty(pixels.shape, np.uint8)},
               x_range=value_range, y_range=value_range, **POINT)["y"]  # fmt: skip
    assert np.array_equal(y, pixels)


def test_ties_go_to_even_and_nan_to_zero() -> None:
    values = np.array([127.5, 128.5, -300, 600, -np.inf, np.inf, np.nan, 0, 255], np.float64)
    for y_range, x in (("signed", values / 127.5 - 1), ("unit", values / 255)):
        numbers = np.repeat(x.astype(np.float32), 3).reshape(1, 3, 3, 3)
        with np.errstate(invalid="ignore"):  # an infinite pixel is one in all channels: the others times 0 are NaN
            y = run_op("causal_conv3d", {"x": numbers[..., :1].copy(), "weight": SAME[:1, ..., :1].copy()},
                       {"y": np.empty((1, 3, 3, 1), np.uint8)}, y_range=y_range, **POINT)["y"]  # fmt: skip
        assert list(y.ravel()) == [128, 128, 0, 255, 0, 255, 0, 0, 255]


def broken(rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    inputs = {"x": rng.integers(0, 256, (2, 3, 3, 2), np.uint8), "x_frame": counter_of(0),
              "weight": normal(rng, 2, 3, 3, 3, 2)}  # fmt: skip
    return inputs, {"past": ring_of(rng, (3, 3, 2), 0, 0, 2, 4)}


@pytest.mark.parametrize(
    ("inputs", "past", "attributes", "message"),
    [
        ({}, 4, {"x_range": "none"}, r"x 'x': expected \[.*\] compute, got .* u8"),
        ({"x": np.zeros((4, 3, 3, 2), np.float32)}, 4, {"x_range": "none"}, "past needs x_range and x_frame"),
        ({"x": np.zeros((2, 3, 3, 2), np.float32)}, 4, {}, r"x 'x': expected \[.*\] u8"),
        ({"x_frame": None}, 4, {}, "past needs x_range and x_frame"),
        ({}, None, {}, "x_frame needs past where x is pixels"),
        (
            {"sum_scale": np.ones(2, np.float32), "weight": np.zeros((2, 3, 3, 3, 2), np.uint8)},
            4,
            {},
            "x cannot be pixels and 8-bit floats at once",
        ),
        ({"y_scale": np.ones(1, np.float32)}, 4, {"y_range": "unit"}, "y cannot be pixels and 8-bit floats at once"),
        ({}, 4, {"interleave": 2}, "interleave must be 1"),
        ({}, 3, {}, "past has 3 frames, needs 4"),
        ({"x": np.zeros((1, 3, 3, 2), np.uint8)}, 4, {}, "x has 1 frames, needs 2"),
        ({"x_frame": counter_of(-1)}, 4, {}, "x_frame is -1"),
        ({}, 4, {"x_range": "half"}, "expected one of none, signed, unit, got 'half'"),
    ],
)
def test_what_does_not_fit_is_an_error(rng: np.random.Generator, inputs: dict, past: int | None, attributes: dict,
                                       message: str) -> None:  # fmt: skip
    given, updates = broken(rng)
    given = {role: values for role, values in (given | inputs).items() if values is not None}
    if attributes.get("interleave") == 2:
        given["weight"] = normal(rng, 4, 3, 3, 3, 2)
    updates = {"past": updates["past"][:past]} if past else {}
    is_bytes = "y_scale" in given
    y = np.empty((2 * attributes.get("interleave", 1), 3, 3, 2), np.uint8 if is_bytes else np.float32)
    with pytest.raises(PenstockError, match=message):
        run_op("causal_conv3d", given, {"y": y}, updates, **SMALL | {"x_range": "signed"} | attributes)
