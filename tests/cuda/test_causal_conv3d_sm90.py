"""The convolution for Hopper, without one: its source on emulated threads, with TMA, wgmma and mbarrier as the PTX ISA
describes them (tests/cuda/emulation), against float64; and its tiles against counting.

It shows that boxes, descriptors, fragments, phases and the schedule are right as far as the manual says; not how fast
it is, nor what the manual does not say. On a device: tests/gpu/test_causal_conv3d.py.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.kernels.causal_conv3d import ACTIVATIONS
from penstock.kernels.causal_conv3d_sm90 import hopper_tile
from tests.helpers import Arrays, assert_accurate, normal
from tests.ops.test_causal_conv3d import LAYERS as EVERY_LAYER
from tests.ops.test_causal_conv3d import Layer, counter_of, normal_weight, ring_of

from .conftest import ConvLayer

LAYERS = {**EVERY_LAYER, "all at once": Layer((2, 1, 3), upsample=2, time_stride=2, interleave=2)}


class Case(NamedTuple):
    layer: str
    channels: tuple[int, int]
    picture: tuple[int, int]  # in positions: of y, before doubling
    programs: int = 1
    box_width: int = 0  # 0: the rule's
    steps: int = 1  # each time_stride frames of x
    norm: str = ""  # with gamma; "raw": with that, too
    activation: str = "relu"


# Every number of columns with every number of taps that share their pixels, in pictures that fill no tile.
CASES = {
    "96 columns, 3 taps": Case("residual block", (32, 96), (13, 19)),
    "96 columns, 2 taps": Case("up2d", (64, 96), (7, 9), 2),
    "96 columns, 1 tap": Case("down2d", (96, 96), (5, 17)),
    "192 columns, 3 taps": Case("picture", (32, 192), (11, 7), 2, steps=2),
    "192 columns, 2 taps": Case("up2d", (32, 192), (3, 5)),
    "192 columns, 1 tap": Case("up3d in time", (96, 192), (12, 9), 3),
    "128 columns, 3 taps": Case("residual block", (32, 384), (9, 13), 3),
    "128 columns, 2 taps": Case("up2d", (64, 384), (13, 6), 2),
    "128 columns, 1 tap": Case("down2d", (32, 384), (3, 17), 2, steps=2),
    "64 columns, 3 taps": Case("memory block", (64, 64), (11, 21)),
    "64 columns, 2 taps": Case("up2d", (32, 64), (6, 3)),
    "64 columns, 1 tap": Case("pool", (32, 64), (40, 9)),
    "three blocks of 192 columns": Case("shortcut", (64, 576), (13, 6), 2),
    "three blocks of 96 columns": Case("shortcut", (32, 288), (2, 3)),
    "grow": Case("grow", (64, 128), (9, 4)),
    "down3d in time": Case("down3d in time", (32, 192), (3, 9), steps=2),
    "boxes 8 wide": Case("picture", (64, 192), (26, 9), 1, 8),
    "boxes 16 wide": Case("picture", (32, 192), (13, 17), 3, 16),
    "doubled, boxes 16 wide": Case("up2d", (32, 96), (23, 17), 3, 16),
    "norm of 96": Case("picture", (32, 96), (13, 19), norm="raw", activation="silu"),
    "norm of 192": Case("shortcut", (64, 192), (13, 19), 2, norm="gamma", activation="silu"),
    "norm of 64": Case("up2d", (32, 64), (6, 3), norm="raw", activation="none"),
    "all at once": Case("all at once", (32, 64), (5, 3), 2),
}


@pytest.mark.parametrize("eager", [False, True], ids=["late", "early"])
@pytest.mark.parametrize("name", CASES)
def test_on_rings(rng: np.random.Generator, convolution: ctypes.CDLL, name: str, eager: bool) -> None:
    """Bias, residual and activation; x, residual and y in rings that wrap, with NaN in all other frames."""
    case = CASES[name]
    layer = LAYERS[case.layer]
    x_shape, y_shape = layer.shapes(case.channels, case.picture)
    seen = rng.integers(0, 50, 3)
    frames = case.steps * layer.time_stride
    out = layer.out_frames(frames)
    inputs = {
        "x": ring_of(rng, x_shape, seen[0], frames, layer.halo, frames + layer.halo + int(rng.integers(3))),
        "x_frame": counter_of(seen[0]),
        "weight": normal_weight(rng, layer, case.channels),
        "bias": normal(rng, layer.interleave * case.channels[1]),
        "residual": ring_of(rng, y_shape, seen[1], out, 0, out + int(rng.integers(3))),
        "residual_frame": counter_of(seen[1]),
        "y_frame": counter_of(seen[2]),
    }
    if case.norm:
        inputs["gamma"] = normal(rng, case.channels[1])
    if case.norm == "raw":
        inputs["raw_frame"] = counter_of(int(rng.integers(50)))
    y_frames = out + int(rng.integers(3))
    check(convolution, case, rounded(inputs), (y_frames, *y_shape), case.activation, seed=int(seen[0]), eager=eager)


@pytest.mark.parametrize("name", ["96 columns, 3 taps", "192 columns, 1 tap", "64 columns, 3 taps"])
def test_on_plain_tensors(rng: np.random.Generator, convolution: ctypes.CDLL, name: str) -> None:
    """Without counters, the frames before the first are zeros; bias and residual are absent."""
    case = CASES[name]
    layer = LAYERS[case.layer]
    x_shape, y_shape = layer.shapes(case.channels, case.picture)
    frames = case.steps * layer.time_stride
    inputs = {"x": normal(rng, frames, *x_shape), "weight": normal_weight(rng, layer, case.channels)}
    check(convolution, case, rounded(inputs), (layer.out_frames(frames), *y_shape), activation="none", seed=5)


def test_first_second_and_steady_chunk(rng: np.random.Generator, convolution: ctypes.CDLL) -> None:
    """A stream of 1, then 2 and 2 frames in a ring that begins as zeros; what of the ring is of no more use is NaN."""
    layer = LAYERS["residual block"]
    case = Case("residual block", (32, 96), (9, 11))
    x_shape, y_shape = layer.shapes(case.channels, case.picture)
    weight = normal_weight(rng, layer, case.channels)
    ring, seen = np.zeros((4, *x_shape), np.float32), 0
    for frames in (1, 2, 2):
        for i in range(frames):
            ring[(seen + i) % 4] = normal(rng, *x_shape)
        inputs = {"x": ring.copy(), "x_frame": counter_of(seen), "weight": weight}
        used = [(seen + i) % 4 for i in range(-2, frames)]
        inputs["x"][[i for i in range(4) if i not in used]] = np.nan
        check(convolution, case, rounded(inputs), (frames, *y_shape), activation="none", seed=frames, frames=frames)
        seen += frames


def test_order_of_threads_does_not_matter(rng: np.random.Generator, convolution: ctypes.CDLL) -> None:
    case = CASES["192 columns, 3 taps"]
    layer = LAYERS[case.layer]
    x_shape, y_shape = layer.shapes(case.channels, case.picture)
    inputs = rounded({"x": normal(rng, 2, *x_shape), "weight": normal_weight(rng, layer, case.channels)})
    first, again = (run(convolution, case, inputs, (2, *y_shape), "none", 2, seed) for seed in (1, 77))
    assert torch.equal(first["y"].view(torch.int16), again["y"].view(torch.int16))


@pytest.mark.parametrize("outputs", [64, 96, 192, 384])
@pytest.mark.parametrize("picture", [(60, 104), (480, 832), (33, 7), (1, 1), (512, 512), (5, 200)])
@pytest.mark.parametrize("upsample", [1, 2])
def test_tiles_cover_every_pixel_once(convolution: ctypes.CDLL, outputs: int, picture: tuple[int, int],
                                      upsample: int) -> None:  # fmt: skip
    layer = ConvLayer(2, *picture, 32, outputs, 1, 3, 3, 1, upsample, 1, 1)
    columns, _, box_width, pixels = form_of(convolution, layer)
    rows = np.zeros((1 << 16, 6), np.int32)
    count = convolution.conv_tiles(ctypes.byref(layer), rows.ctypes.data_as(ctypes.c_void_p), len(rows))
    assert count <= len(rows)
    covered = np.zeros((2, upsample, upsample, *picture, outputs // columns), np.int32)
    for frame, down, right, row, column, channel in rows[:count]:
        box = slice(row, row + pixels // box_width), slice(column, column + box_width)
        covered[frame, down, right, *box, channel // columns] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("outputs", "kernel_height", "stride", "picture", "expected"),
    [
        (96, 3, 1, (480, 832), [96, 3, 8, 384]),
        (192, 3, 1, (60, 104), [192, 3, 16, 192]),
        (384, 3, 1, (120, 208), [192, 3, 8, 192]),
        (384, 3, 1, (60, 104), [128, 3, 16, 192]),
        (192, 2, 1, (120, 208), [192, 2, 8, 192]),
        (96, 3, 2, (240, 416), [96, 1, 8, 384]),
        (768, 1, 1, (12, 16), [128, 1, 16, 192]),
        (64, 5, 1, (480, 832), [64, 1, 8, 576]),
        (32, 3, 1, (60, 104), [0, 3, 0, 0]),
    ],
)
def test_form(convolution: ctypes.CDLL, outputs: int, kernel_height: int, stride: int, picture: tuple[int, int],
              expected: list[int]) -> None:  # fmt: skip
    """Columns, taps that share their pixels, width of a box and pixels of a tile, by the rules of tile.h."""
    layer = ConvLayer(1, *picture, 32, outputs, 1, kernel_height, 3, stride, 1, 1, 1)
    assert form_of(convolution, layer) == expected


def test_form_is_what_python_says(rng: np.random.Generator, convolution: ctypes.CDLL) -> None:
    """hopper_tile, which docs/performance.md is made with."""
    for _ in range(300):
        outputs, kernel_height, stride = (int(rng.choice(sizes)) for sizes in ((64, 96, 128, 192, 288, 384),
                                                                               (1, 2, 3, 5), (1, 2)))  # fmt: skip
        picture = tuple(int(side) for side in rng.integers(1, 500, 2))
        frames, upsample = (int(n) for n in rng.integers(1, 3, 2))
        layer = ConvLayer(frames, *picture, 32, outputs, 1, kernel_height, 3, stride, upsample, 1, 1)
        tile = hopper_tile(32, outputs, kernel_height, stride, picture, frames * upsample**2)
        assert form_of(convolution, layer) == [tile.columns, tile.taps, tile.box[1], tile.box[0] * tile.box[1]]


def rounded(inputs: Arrays) -> dict[str, torch.Tensor]:
    """As the kernel gets them: floats in bf16."""
    tensors = {role: torch.from_numpy(values) for role, values in inputs.items()}
    return {role: tensor.bfloat16() if tensor.is_floating_point() else tensor for role, tensor in tensors.items()}


def form_of(convolution: ctypes.CDLL, layer: ConvLayer) -> list[int]:
    form = (ctypes.c_int * 4)()
    convolution.conv_form(ctypes.byref(layer), form)
    return list(form)


class Frames(ctypes.Structure):
    """Of emulation/causal_conv3d.cpp."""

    _fields_ = (("data", ctypes.c_void_p), ("frames", ctypes.c_int), ("counter", ctypes.c_void_p))

    @classmethod
    def of(cls, tensor: torch.Tensor | None, counter: torch.Tensor | None) -> Frames:
        if tensor is None:
            return cls(None, 1, None)
        return cls(tensor.data_ptr(), len(tensor), None if counter is None else counter.data_ptr())


def run(convolution: ctypes.CDLL, case: Case, inputs: dict[str, torch.Tensor], y_shape: tuple[int, ...],
        activation: str, frames: int, seed: int, eager: bool = False) -> dict[str, torch.Tensor]:  # fmt: skip
    """y, and raw if there is a counter for it, as the kernel leaves them; NaN at first."""
    layer, weight = LAYERS[case.layer], inputs["weight"]
    rings = {"y": y_shape[0]} | ({"raw": raw_frames(y_shape)} if "raw_frame" in inputs else {})
    outputs = {role: torch.full((count, *y_shape[1:]), float("nan"), dtype=torch.bfloat16)
               for role, count in rings.items()}  # fmt: skip
    sizes = ConvLayer(layer.out_frames(frames), *case.picture, *case.channels, *weight.shape[1:4], layer.stride,
                      layer.upsample, layer.time_stride, layer.interleave)  # fmt: skip

    def frames_of(role: str) -> Any:
        return ctypes.byref(Frames.of(outputs.get(role, inputs.get(role)), inputs.get(f"{role}_frame")))

    def pointer(role: str) -> ctypes.c_void_p | None:
        return ctypes.c_void_p(inputs[role].data_ptr()) if role in inputs else None

    problem = convolution.emulate_causal_conv3d(
        frames_of("x"), pointer("weight"), len(weight), pointer("bias"), frames_of("residual"), pointer("gamma"),
        frames_of("y"), frames_of("raw"), ctypes.byref(sizes), ACTIVATIONS[activation], case.box_width, case.programs,
        seed, int(eager),
    )  # fmt: skip
    assert problem is None, problem.decode()
    return outputs


def raw_frames(y_shape: tuple[int, ...]) -> int:
    """Of raw's ring, another number than of y's."""
    return y_shape[0] + 5


def check(convolution: ctypes.CDLL, case: Case, inputs: dict[str, torch.Tensor], y_shape: tuple[int, ...],
          activation: str, seed: int, eager: bool = False, frames: int | None = None) -> None:  # fmt: skip
    layer = LAYERS[case.layer]
    frames = frames or case.steps * layer.time_stride
    outputs = run(convolution, case, inputs, y_shape, activation, frames, seed, eager)
    options = {"frames": frames, "activation": activation, "y_frames": y_shape[0], **layer.attributes}
    options["raw_frames"] = raw_frames(y_shape) if "raw" in outputs else None
    exact = {role: tensor.double() if tensor.is_floating_point() else tensor for role, tensor in inputs.items()}
    expected = reference_vae.causal_conv3d(**exact, **options)
    plain = reference_vae.causal_conv3d(**inputs, **options)
    for role, values in outputs.items():
        assert_accurate(values.float().numpy(), expected[role], plain[role].float(), 0.0, f"causal_conv3d_sm90: {role}")
