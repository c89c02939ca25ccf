"""Frames in e4m3 codes, as precision fp8_vae has them, for the benchmarks of the ops that read or write them.

No library has such ops: the baselines compute on the decoded values, in the compute dtype, decoded beforehand.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .cost import Call
from .libraries import torch

Y_SCALE = 2.0**-6
# Relative L2 of outputs in codes, on the CPU and in bf16: near numbers may be rounded to different codes, 6 % apart.
TOLERANCE = (1e-2, 5e-2)


def coded_values(call: Call) -> dict[str, Any]:
    """Random codes, and scales that keep the scale of activations."""
    rng, values = np.random.default_rng(2), {}
    if "sum_scale" in call.shapes:
        values |= {role: random_codes(rng, call.shapes[role]) for role in ("x", "weight")}
        values["sum_scale"] = np.float32(prod(call.shapes["weight"][1:]) ** -0.5)
    return values | ({"y_scale": Y_SCALE} if "y_scale" in call.shapes else {})


def random_codes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Codes of numbers from 0.5 to 3.75, of either sign."""
    return rng.integers(0x30, 0x48, shape, np.uint8) | rng.integers(0, 2, shape, np.uint8) << 7


def decoded(codes, dtype):
    """Codes as numbers in ``dtype``."""
    return codes.view(torch.float8_e4m3fn).to(dtype)


def coded(y, y_scale):
    """Numbers as codes, in units of ``y_scale``; with None, what is given."""
    return y if y_scale is None else (y / y_scale).clamp(-448, 448).to(torch.float8_e4m3fn).view(torch.uint8)


def as_numbers(call: Call, role: str, values: np.ndarray) -> np.ndarray:
    """An output as read from the engine or torch, with codes decoded: neighbouring bytes may be far apart."""
    if f"{role}_scale" not in call.shapes:
        return values
    return decoded(torch.from_numpy(values.astype(np.uint8)), torch.float32).numpy()
