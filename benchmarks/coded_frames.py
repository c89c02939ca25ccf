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
    """Codes of numbers from 1/4 to 1.875, of either sign, and scales that keep the scale of activations."""
    bits, values = np.random.default_rng(2), {}
    if "sum_scale" in call.shapes:
        for role in ("x", "weight"):
            magnitude = bits.integers(0x28, 0x40, call.shapes[role], np.uint8)
            values[role] = magnitude | bits.integers(0, 2, call.shapes[role], np.uint8) << 7
        values["sum_scale"] = np.float32(prod(call.shapes["weight"][1:]) ** -0.5)
    return values | ({"y_scale": Y_SCALE} if "y_scale" in call.shapes else {})


def decoded(codes, scale, dtype):
    """Codes as numbers in ``dtype``; with ``scale`` None, what is given."""
    return codes if scale is None else codes.view(torch.float8_e4m3fn).to(dtype)


def coded(y, y_scale):
    """Numbers as codes, in units of ``y_scale``; with None, what is given."""
    return y if y_scale is None else (y / y_scale).clamp(-448, 448).to(torch.float8_e4m3fn).view(torch.uint8)


def as_numbers(call: Call, role: str, values: np.ndarray) -> np.ndarray:
    """An output as read from the engine or torch, with codes decoded: neighbouring bytes may be far apart."""
    if f"{role}_scale" not in call.shapes:
        return values
    return torch.from_numpy(values.astype(np.uint8)).view(torch.float8_e4m3fn).float().numpy()
