"""Frames in 8-bit floats for tests: convolutions that read or write them, and norms that write them."""

from __future__ import annotations

import numpy as np
import torch

from penstock.kernels import reference_vae
from tests.helpers import Arrays, assert_accurate, normal
from tests.ops.test_causal_conv3d import Layer, norm_inputs

POISON = 0xA5  # what outputs of bytes begin with
# Layers, channels, whether x and y are codes, and whether there are a norm and raw.
CONVOLUTIONS = [
    ("residual block", (32, 32), True, True, True, True),
    ("residual block", (32, 150), True, False, False, False),
    ("residual block", (64, 3), True, False, False, False),
    ("shortcut", (96, 17), True, True, True, False),
    ("pool", (64, 96), True, True, True, True),
    ("up3d in time", (32, 64), True, True, False, True),
    ("up2d", (16, 32), False, True, True, True),
    ("residual block", (3, 96), False, True, True, False),
    ("down2d", (32, 192), False, True, True, True),
]


def codes_of(values: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
    return torch.from_numpy(values / scale).float().to(torch.float8_e4m3fn).view(torch.uint8).numpy()


def numbers_of(codes: np.ndarray) -> np.ndarray:
    return torch.from_numpy(codes.copy()).view(torch.float8_e4m3fn).double().numpy()


def draw_convolution(rng: np.random.Generator, layer: Layer, channels: tuple[int, int], x_codes: bool, y_codes: bool,
                     has_norm: bool, has_raw: bool) -> tuple[Arrays, tuple[int, ...], int | None]:  # fmt: skip
    """As norm_inputs; frames of x that may not be read are NaN in codes too."""
    picture = (int(rng.integers(1, 6)), int(rng.integers(1, 9)))
    inputs, y_shape, raw_frames = norm_inputs(rng, layer, channels, picture, 2, has_norm, has_raw)
    if x_codes:
        rows = len(inputs["weight"])
        scale = np.exp2(rng.integers(-8, -3, rows)).astype(np.float32)  # of each row's codes, and of x's
        weight = codes_of(inputs["weight"], scale[:, None, None, None, None])
        inputs |= {"x": codes_of(inputs["x"], 2.0**-3), "weight": weight, "sum_scale": scale * np.float32(2.0**-3)}
    if y_codes:
        inputs["y_scale"] = np.array([2.0**-5], np.float32)
    return inputs, y_shape, raw_frames


def poisoned(shape: tuple[int, ...], y_codes: bool) -> np.ndarray:
    return np.full(shape, *((POISON, np.uint8) if y_codes else (np.nan, np.float32)))


def check_convolution(layer: Layer, inputs: Arrays, result: Arrays, raw_frames: int | None, activation: str,
                      dtype: torch.dtype = torch.float32) -> None:  # fmt: skip
    """``result`` against float64; ``dtype``: of the floats among the inputs."""
    given = {role: torch.from_numpy(values) for role, values in inputs.items() if role != "y_scale"}

    def expected(floats: torch.dtype) -> reference_vae.Outputs:
        tensors = {role: v.to(dtype).to(floats) if v.is_floating_point() else v for role, v in given.items()}
        return reference_vae.causal_conv3d(**tensors, frames=2, activation=activation, y_frames=len(result["y"]),
                                           raw_frames=raw_frames, **layer.attributes)  # fmt: skip

    exact, plain = expected(torch.float64), expected(torch.float32)
    if raw_frames:
        yardstick = plain["raw"].to(dtype).float()
        assert_accurate(result["raw"].astype(np.float32), exact["raw"], yardstick, 5e-7, "raw")
    if "y_scale" in inputs:
        check_codes(result["y"], exact["y"].numpy(), float(inputs["y_scale"][0]))
    else:
        yardstick = plain["y"].to(dtype).float()
        assert_accurate(result["y"].astype(np.float32), exact["y"], yardstick, 5e-7, "y")


def check_codes(codes: np.ndarray, exact: np.ndarray, scale: float) -> None:
    """The nearest codes, but for what float32 moves over the middle between two; poison where ``exact`` is NaN."""
    untouched = np.isnan(exact)
    assert (codes[untouched] == POISON).all()
    decoded, wanted = numbers_of(codes[~untouched]) * scale, exact[~untouched]
    allowed = np.maximum(np.abs(wanted) / 16, scale * 2.0**-10) * (1 + 1e-4) + 1e-5 * np.abs(wanted).max()
    assert (np.abs(decoded - wanted) <= allowed).all()
    assert np.mean(codes[~untouched] == codes_of(wanted, scale)) > 0.98


def draw_norm(rng: np.random.Generator, shape: tuple[int, ...]) -> Arrays:
    """Of frames 7, 8, ... in a ring, into a ring."""
    return {"x": 3 * normal(rng, *shape), "gamma": normal(rng, shape[-1]), "x_frame": np.array([7]),
            "y_frame": np.array([11]), "y_scale": np.array([2.0**-4], np.float32)}  # fmt: skip


def check_norm(inputs: Arrays, y: np.ndarray, frames: int, dtype: torch.dtype = torch.float32) -> None:
    given = {role: torch.from_numpy(values) for role, values in inputs.items() if role != "y_scale"}
    doubles = {role: v.to(dtype).double() if v.is_floating_point() else v for role, v in given.items()}
    exact = reference_vae.rms_silu(**doubles, frames=frames, activation="silu", y_frames=len(y))["y"]
    check_codes(y, exact.numpy(), float(inputs["y_scale"][0]))
