"""causal_conv3d against conv3d in float64: every kind of layer, rings everywhere, and streams against whole clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.runtime.engine import Engine
from penstock.runtime.errors import PenstockError
from penstock.runtime.plan import PlanBuilder
from tests.helpers import Arrays, check_op, normal, relative_l2, run_op


@dataclass(frozen=True)
class Layer:
    """A kind of layer of the autoencoders."""

    kernel: tuple[int, int, int]
    stride: int = 1
    upsample: int = 1
    time_stride: int = 1
    interleave: int = 1

    @property
    def halo(self) -> int:
        return self.kernel[0] - self.time_stride

    @property
    def attributes(self) -> dict[str, int]:
        return {"stride": self.stride, "upsample": self.upsample, "time_stride": self.time_stride,
                "interleave": self.interleave}  # fmt: skip

    def weight_shape(self, inputs: int, outputs: int) -> tuple[int, ...]:
        """A doubled picture takes four kernels over the small one; an even number of taps is right there."""
        time, *sides = self.kernel
        if self.upsample == 2:
            sides = [(side + 1) // 2 for side in sides]
        return (self.upsample**2 * self.interleave * outputs, time, *sides, inputs)

    def out_frames(self, frames: int) -> int:
        return frames // self.time_stride * self.interleave

    def shapes(self, channels: tuple[int, int], picture: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of an input and an output frame."""
        inside = tuple(size * self.stride for size in picture)
        outside = tuple(size * self.upsample for size in picture)
        return (*inside, channels[0]), (*outside, channels[1])


LAYERS = {
    "residual block": Layer((3, 3, 3)),
    "shortcut": Layer((1, 1, 1)),
    "picture": Layer((1, 3, 3)),
    "down2d": Layer((1, 3, 3), stride=2),
    "up2d": Layer((1, 3, 3), upsample=2),
    "down3d in time": Layer((3, 1, 1), time_stride=2),
    "up3d in time": Layer((3, 1, 1), interleave=2),
    "memory block": Layer((2, 3, 3)),
    "pool": Layer((2, 1, 1), time_stride=2),
    "grow": Layer((1, 1, 1), interleave=2),
    "all at once": Layer((4, 5, 3), upsample=2, time_stride=2, interleave=2),
}
CHANNELS = [(3, 8), (8, 3), (16, 32), (1, 1), (40, 150)]


def normal_weight(rng: np.random.Generator, layer: Layer, channels: tuple[int, int]) -> np.ndarray:
    weight = normal(rng, *layer.weight_shape(*channels))
    return weight / np.float32(np.sqrt(weight[0].size))


def ring_of(rng: np.random.Generator, shape: tuple[int, ...], counter: int, new: int, halo: int,
            size: int) -> np.ndarray:  # fmt: skip
    """A ring of ``size`` frames that is NaN but for the frames that may be read."""
    ring = np.full((size, *shape), np.nan, np.float32)
    for i in range(-halo, new):
        ring[(counter + i) % size] = normal(rng, *shape)
    return ring


def counter_of(frames: int) -> np.ndarray:
    return np.array([frames], np.int64)


def check_conv(inputs: Arrays, y_shape: tuple[int, ...], atol: float = 5e-7, raw_frames: int | None = None,
               **attributes: int | str) -> Arrays:  # fmt: skip
    """raw_frames: of the optional output raw; None for none."""

    def expected(tensors: dict[str, torch.Tensor]) -> reference_vae.Outputs:
        return reference_vae.causal_conv3d(**tensors, y_frames=y_shape[0], raw_frames=raw_frames, **attributes)

    outputs = {"y": y_shape} | ({"raw": (raw_frames, *y_shape[1:])} if raw_frames else {})
    return check_op("causal_conv3d", inputs, outputs, expected=expected, atol=atol, **attributes)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_on_rings(rng: np.random.Generator, name: str, channels: tuple[int, int]) -> None:
    """Bias, residual and activation; x, residual and y in rings that wrap, with NaN in all other frames."""
    layer = LAYERS[name]
    frames = 4
    x_shape, y_shape = layer.shapes(channels, (int(rng.integers(1, 8)), int(rng.integers(1, 10))))
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
    y_frames = out + int(rng.integers(3))
    check_conv(inputs, (y_frames, *y_shape), frames=frames, activation="relu", **layer.attributes)


@pytest.mark.parametrize("picture", [(3, 4), (23, 19)])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_on_plain_tensors(rng: np.random.Generator, name: str, picture: tuple[int, int]) -> None:
    """Without counters, the frames before the first are zeros; bias and residual are absent."""
    layer = LAYERS[name]
    x_shape, y_shape = layer.shapes((5, 7), picture)
    inputs = {"x": normal(rng, 2, *x_shape), "weight": normal_weight(rng, layer, (5, 7))}
    check_conv(inputs, (layer.out_frames(2), *y_shape), frames=2, activation="none", **layer.attributes)


NORMS = [(norm, raw, activation) for norm in (True, False) for raw in (True, False)
         for activation in ("silu", "none", "relu")]  # fmt: skip


def norm_inputs(rng: np.random.Generator, layer: Layer, channels: tuple[int, int], picture: tuple[int, int],
                frames: int, has_norm: bool, has_raw: bool) -> tuple[Arrays, tuple[int, ...], int | None]:  # fmt: skip
    """Roles of a convolution with a norm or raw, all frames in rings that wrap; y's shape and raw's frames."""
    x_shape, y_shape = layer.shapes(channels, picture)
    seen, out = rng.integers(0, 50, 3), layer.out_frames(frames)
    inputs = {
        "x": ring_of(rng, x_shape, seen[0], frames, layer.halo, frames + layer.halo),
        "x_frame": counter_of(seen[0]),
        "weight": normal_weight(rng, layer, channels),
        "bias": normal(rng, layer.interleave * channels[1]),
        "residual": normal(rng, out, *y_shape),
        "y_frame": counter_of(seen[1]),
    }
    if has_norm:
        inputs["gamma"] = normal(rng, channels[1])
    if has_raw:
        inputs["raw_frame"] = counter_of(seen[2])
    return inputs, (out + 1, *y_shape), out + 2 if has_raw else None


@pytest.mark.parametrize(("has_norm", "has_raw", "activation"), NORMS)
@pytest.mark.parametrize(("name", "channels"), [("residual block", (3, 150)), ("up2d", (8, 16)),
                                                ("up3d in time", (5, 7))])  # fmt: skip
def test_norm_and_raw(rng: np.random.Generator, name: str, channels: tuple[int, int], has_norm: bool, has_raw: bool,
                      activation: str) -> None:  # fmt: skip
    layer, frames = LAYERS[name], 2
    picture = (int(rng.integers(1, 8)), int(rng.integers(1, 30)))
    inputs, y_shape, raw_frames = norm_inputs(rng, layer, channels, picture, frames, has_norm, has_raw)
    check_conv(inputs, y_shape, raw_frames=raw_frames, frames=frames, activation=activation, **layer.attributes)


def test_norm_of_zeros_and_of_tiny_pixels(rng: np.random.Generator) -> None:
    """Without a bias a pixel of zeros stays zero; a pixel shorter than 1e-12 is divided by 1e-12."""
    layer = LAYERS["shortcut"]
    x = normal(rng, 1, 3, 3, 4)
    x[0, 0], x[0, 1] = 0, x[0, 1] * 1e-14
    inputs = {"x": x, "weight": normal_weight(rng, layer, (4, 6)), "gamma": normal(rng, 6)}
    y = check_conv(inputs, (1, 3, 3, 6), frames=1, activation="silu", **layer.attributes)["y"]
    assert not y[0, 0].any() and 0 < abs(y[0, 1]).max() < 0.1


@pytest.mark.parametrize(("channels", "picture", "frames"), [((96, 96), (30, 53), 2), ((384, 32), (15, 26), 1)])
def test_production_widths(rng: np.random.Generator, channels: tuple[int, int], picture: tuple[int, int],
                           frames: int) -> None:  # fmt: skip
    layer = LAYERS["residual block"]
    inputs = {
        "x": normal(rng, frames + 2, *picture, channels[0]),
        "x_frame": counter_of(int(rng.integers(100))),
        "weight": normal_weight(rng, layer, channels),
        "bias": normal(rng, channels[1]),
        "residual": normal(rng, frames, *picture, channels[1]),
    }
    y_shape = (frames, *picture, channels[1])
    check_conv(inputs, y_shape, frames=frames, activation="none", **layer.attributes)


@pytest.mark.parametrize("spare", [0, 1, 3])
@pytest.mark.parametrize("name", [name for name, layer in LAYERS.items() if layer.halo])
def test_a_stream_equals_the_whole_clip(rng: np.random.Generator, name: str, spare: int) -> None:
    """Calls of different lengths over a ring that wraps; NaN in frames that are of no more use."""
    layer = LAYERS[name]
    calls = [layer.time_stride, 4, 4, 2, 4, 4, 2]
    x_shape, y_shape = layer.shapes((3, 5), (4, 3))
    clip, weight = normal(rng, sum(calls), *x_shape), normal_weight(rng, layer, (3, 5))
    ring = np.zeros((4 + layer.halo + spare, *x_shape), np.float32)
    outputs, seen = [], 0
    for frames in calls:
        kept = {(seen + i) % len(ring) for i in range(-layer.halo, frames)}
        for i in set(range(len(ring))) - kept:
            ring[i] = np.nan
        for i in range(seen, seen + frames):
            ring[i % len(ring)] = clip[i]
        y = run_op("causal_conv3d", {"x": ring, "x_frame": counter_of(seen), "weight": weight},
                   {"y": (layer.out_frames(frames), *y_shape)}, frames=frames, activation="none",
                   **layer.attributes)["y"]  # fmt: skip
        outputs.append(y)
        seen += frames
    padded = torch.from_numpy(np.concatenate([np.zeros((layer.halo, *x_shape)), clip]))
    whole = reference_vae.convolve(padded, torch.from_numpy(weight).double(), None, **layer.attributes)
    assert relative_l2(np.concatenate(outputs), whole) < 1e-6


def test_a_plan_of_two_layers_streams(rng: np.random.Generator) -> None:
    """Conv, ring, conv, counters advanced by the plan itself: the first call has one frame, the others have three."""
    channels, picture, calls = (3, 6, 4), (5, 4), (1, 3, 3, 3, 3)
    plan = PlanBuilder("stream", {})
    rings = [plan.state(f"ring{i}", (5, *picture, channels[i])) for i in range(2)]
    weights = [plan.input(f"weight{i}", (channels[i + 1], 3, 3, 3, channels[i]), "compute") for i in range(2)]
    seen = plan.step("seen", "i64", (1,))
    none = {"stride": 1, "upsample": 1, "time_stride": 1, "interleave": 1, "activation": "none"}
    for frames in (1, 3):
        y = plan.output(f"y{frames}", (frames, *picture, channels[2]), "compute")
        with plan.phase(f"run{frames}"):
            first = {"x": rings[0], "x_frame": seen, "weight": weights[0], "y_frame": seen}
            plan.op("causal_conv3d", first, {"y": rings[1]}, frames=frames, **none)
            second = {"x": rings[1], "x_frame": seen, "weight": weights[1]}
            plan.op("causal_conv3d", second, {"y": y}, frames=frames, **none)
            plan.op("advance_frames", {}, updates={"frame": seen}, count=frames)
    session = Engine.create(plan.finish(), [], device="cpu", threads=2).session()

    layer = LAYERS["residual block"]
    values = [normal_weight(rng, layer, (channels[i], channels[i + 1])) for i in range(2)]
    for i, weight in enumerate(values):
        session.write(f"weight{i}", weight)
    clip, outputs, position = normal(rng, sum(calls), *picture, channels[0]), [], 0
    for frames in calls:
        ring = session.read("ring0")
        for i in range(position, position + frames):
            ring[i % 5] = clip[i]
        session.write("ring0", ring)
        session.run(f"run{frames}")
        outputs.append(session.read(f"y{frames}"))
        position += frames
        assert session.read("seen")[0] == position

    whole = torch.from_numpy(clip).double()
    for weight in values:
        padded = torch.cat([torch.zeros(2, *whole.shape[1:], dtype=torch.float64), whole])
        whole = reference_vae.convolve(padded, torch.from_numpy(weight).double(), None, **layer.attributes)
    assert relative_l2(np.concatenate(outputs), whole) < 1e-6


def small_inputs(rng: np.random.Generator) -> Arrays:
    return {"x": normal(rng, 4, 3, 3, 2), "x_frame": counter_of(0), "weight": normal(rng, 2, 3, 3, 3, 2)}


SMALL = {"frames": 2, "stride": 1, "upsample": 1, "time_stride": 1, "interleave": 1, "activation": "none"}


def test_a_long_stream_keeps_its_place(rng: np.random.Generator) -> None:
    check_conv(small_inputs(rng) | {"x_frame": counter_of(2**62 + 3), "y_frame": counter_of(2**63 - 1)},
               (3, 3, 3, 2), **SMALL)  # fmt: skip


def test_nan_passes_the_activation(rng: np.random.Generator) -> None:
    inputs = small_inputs(rng)
    inputs["x"][0, 1, 1, 0] = np.nan
    check_conv(inputs, (2, 3, 3, 2), **SMALL | {"activation": "relu"})


@pytest.mark.parametrize("role", ["x_frame", "residual_frame", "y_frame"])
def test_a_negative_counter_is_an_error(rng: np.random.Generator, role: str) -> None:
    inputs = small_inputs(rng) | {"residual": normal(rng, 2, 3, 3, 2), role: counter_of(-1)}
    with pytest.raises(PenstockError, match=f"{role} is -1"):
        run_op("causal_conv3d", inputs, {"y": (2, 3, 3, 2)}, **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (3, 3, 3, 2)}, "x has 3 frames, needs 4"),
        ({"residual": (1, 3, 3, 2)}, "residual has 1 frames, needs 2"),
        ({"y": (1, 3, 3, 2)}, "y has 1 frames, needs 2"),
        ({"weight": (2, 3, 2, 3, 2)}, "must be odd"),
        ({"weight": (2, 1, 3, 3, 2), "time_stride": 2}, "time_stride frames"),
        ({"weight": (2, 3, 3, 3, 3)}, "weight"),
        ({"residual": (2, 3, 2, 2)}, "residual"),
        ({"frames": 3, "time_stride": 2}, "multiple of time_stride"),
        ({"time_stride": 3}, "must be 1 or 2"),
        ({"stride": 2}, "x"),
        (
            {"x": (4, 4, 4, 2), "weight": (8, 3, 3, 3, 2), "y": (2, 4, 4, 2), "stride": 2, "upsample": 2},
            "must not both be 2",
        ),
        ({"y": (2, 6, 6, 2), "upsample": 2}, r"expected \[u\*u\*g\*O"),
    ],
)
def test_what_does_not_fit_is_an_error(rng: np.random.Generator, change: dict, message: str) -> None:
    inputs = small_inputs(rng)
    shapes = {"y": (2, 3, 3, 2)} | {role: shape for role, shape in change.items() if isinstance(shape, tuple)}
    attributes = SMALL | {name: value for name, value in change.items() if not isinstance(value, tuple)}
    inputs |= {role: normal(rng, *shape) for role, shape in shapes.items() if role != "y"}
    with pytest.raises(PenstockError, match=message):
        run_op("causal_conv3d", inputs, {"y": shapes["y"]}, **attributes)
