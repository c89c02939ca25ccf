"""How a Triton kernel is checked: in the interpreter where there is no device, else on it, against float64.

The interpreter computes bfloat16 wrongly, so it is checked in float32 and float16, and in bfloat16 on a device only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from penstock.kernels import reference, reference_cache, reference_vae
from tests.helpers import F32_LATENTS, F32_ROLES, Arrays, assert_accurate

Tensors = dict[str, torch.Tensor]

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float16, *([torch.bfloat16] if DEVICE == "cuda" else [])]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))

MARGIN = 128  # elements of poison on either side of a tensor; keeps its alignment


def check_kernel(
    launch: Callable[..., None],
    dtype: torch.dtype,
    inputs: Arrays,
    outputs: Mapping[str, tuple[int, ...]],
    updates: Arrays | None = None,
    expected: Callable[[Tensors], reference.Outputs] | None = None,
    atol: float = 5e-7,
    **attributes: int | float | str,
) -> Arrays:
    """Runs the kernels of an op on roles and attributes, compares with its reference; returns outputs and updates.

    ``dtype`` is that of the roles that are `compute`. Outputs start as NaN, and :func:`run_kernel` adds its checks.
    Accepted is what assert_accurate accepts, measured against the same formula in plain torch in ``dtype``, on the
    rounded values; integers must be equal.
    """
    op = launch.__name__
    given, changing = (
        {role: _rounded(op, role, values, dtype) for role, values in arrays.items()}
        for arrays in (inputs, updates or {})
    )
    poisoned = {role: poison(shape, torch.float32 if _is_f32(op, role) else dtype) for role, shape in outputs.items()}
    actual = run_kernel(launch, given, {**poisoned, **changing}, **attributes)

    module = next((module for module in (reference, reference_cache, reference_vae) if hasattr(module, op)), None)
    call = expected or (lambda tensors: getattr(module, op)(**tensors, **attributes))
    arguments = {**given, **changing}
    exact = call({role: v.double() if v.is_floating_point() else v for role, v in arguments.items()})
    plain = call(arguments)
    assert exact.keys() == actual.keys()
    for role, values in actual.items():
        if values.is_floating_point():
            yardstick = plain[role].to(values.dtype).float()
            assert_accurate(values.float().numpy(), exact[role], yardstick, atol, f"{op}: {role}")
        else:
            assert values.tolist() == exact[role].tolist(), f"{op}: {role}"
    return {role: (v.float() if v.is_floating_point() else v).numpy() for role, v in actual.items()}


def run_kernel(
    launch: Callable[..., None], inputs: Tensors, updates: Tensors, **attributes: int | float | str | None
) -> Tensors:
    """Runs launch(**inputs, **updates, **attributes) on copies on the device; returns the updates.

    Every tensor lies between margins of poison: what is read beyond it shows in the result, what is written beyond it
    in the margins. The inputs keep their bits.
    """
    placed = {role: _Placed(values) for role, values in {**inputs, **updates}.items()}
    launch(**{role: tensor.view for role, tensor in placed.items()}, **attributes)
    for role, tensor in placed.items():
        tensor.check_margins(role)
    for role, values in inputs.items():
        assert torch.equal(_bytes(placed[role].view.cpu()), _bytes(values)), f"{role} was written"
    return {role: placed[role].view.cpu() for role in updates}


def tensors_of(arrays: Arrays, dtype: torch.dtype = torch.float32) -> Tensors:
    """Arrays as tensors of the host, floats in ``dtype``."""
    tensors = {role: torch.from_numpy(values) for role, values in arrays.items()}
    return {role: values.to(dtype) if values.is_floating_point() else values for role, values in tensors.items()}


def poison(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """What an output starts as: NaN, or an integer that no kernel writes."""
    return (
        torch.full((math.prod(shape) * dtype.itemsize,), _poison_byte(dtype), dtype=torch.uint8).view(dtype).view(shape)
    )


class _Placed:
    """A tensor on the device, inside a buffer of poison."""

    def __init__(self, values: torch.Tensor):
        self.margin, self.byte = MARGIN * values.itemsize, _poison_byte(values.dtype)
        size = 2 * self.margin + values.nbytes
        self.buffer = torch.full((size,), self.byte, dtype=torch.uint8, device=DEVICE)
        self.view = self.buffer[self.margin : -self.margin].view(values.dtype).view(values.shape)
        self.view.copy_(values)

    def check_margins(self, role: str) -> None:
        margins = torch.cat([self.buffer[: self.margin], self.buffer[-self.margin :]])
        assert (margins == self.byte).all(), f"written beyond {role}"


def _poison_byte(dtype: torch.dtype) -> int:
    return 0xFF if dtype.is_floating_point else 0xA5  # NaN in every format of floats


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return values.contiguous().view(torch.uint8)


def _is_f32(op: str, role: str) -> bool:
    return role in F32_ROLES or (role == "x" and op in F32_LATENTS)


def _rounded(op: str, role: str, values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    tensor: Any = torch.from_numpy(values)
    return tensor.to(dtype) if tensor.is_floating_point() and not _is_f32(op, role) else tensor
