"""The Triton interpreter where it rounds wrongly: to e4m3 that of Triton 3.6 loses the carry into the exponent."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch

from .check import DEVICE


@pytest.fixture(autouse=True)
def rounds_to_e4m3(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the nearest, ties to even, and at most 448, as the device's instruction does."""
    if DEVICE != "cpu":
        return
    interpreter = importlib.import_module("triton.runtime.interpreter")
    convert = interpreter._convert_float

    def corrected(values: np.ndarray, source: Any, target: Any, mode: Any) -> np.ndarray:
        if (str(source), str(target)) != ("fp32", "fp8e4nv"):
            return convert(values, source, target, mode)
        floats = torch.from_numpy(np.frombuffer(values.tobytes(), np.float32).copy()).clamp(-448, 448)
        return floats.to(torch.float8_e4m3fn).view(torch.uint8).numpy().reshape(values.shape)

    monkeypatch.setattr(interpreter, "_convert_float", corrected)
