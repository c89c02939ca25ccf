"""How a Triton kernel is checked: in the interpreter where there is no device, else on it, against float64.

The interpreter computes bfloat16 wrongly, so it is checked in float32 and float16, and in bfloat16 on a device only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from penstock.kernels import reference, reference_cache
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

    ``dtype`` is that of the roles that are `compute`. Every tensor lies between margins of NaN, and outputs start as
    NaN: what is read beyond a tensor shows in the result, what is written beyond it in the margins. Accepted is what
    assert_accurate accepts, measured against the same formula in plain torch in ``dtype``, on the rounded values.
    """
    op = launch.__name__
    given = {role: _rounded(op, role, values, dtype) for role, values in {**inputs, **(updates or {})}.items()}
    results = [*outputs, *(updates or {})]
    for role, shape in outputs.items():
        given[role] = torch.full(shape, torch.nan, dtype=torch.float32 if _is_f32(op, role) else dtype)
    placed = {role: _Placed(values) for role, values in given.items()}
    launch(**{role: tensor.view for role, tensor in placed.items()}, **attributes)
    for role, tensor in placed.items():
        tensor.check_margins(role)
        if role not in results:
            assert torch.equal(tensor.view.cpu(), given[role]) or given[role].isnan().any(), f"{role} was written"

    module = reference if hasattr(reference, op) else reference_cache
    call = expected or (lambda tensors: getattr(module, op)(**tensors, **attributes))
    arguments = {role: values for role, values in given.items() if role not in outputs}
    exact = call({role: v.double() if v.is_floating_point() else v for role, v in arguments.items()})
    plain = call(arguments)
    assert exact.keys() == set(results)
    actual = {role: placed[role].view.cpu() for role in results}
    for role, values in actual.items():
        yardstick = plain[role].to(values.dtype).float()
        assert_accurate(values.float().numpy(), exact[role], yardstick, atol, f"{op}: {role}")
    return {role: values.float().numpy() for role, values in actual.items()}


class _Placed:
    """A tensor on the device, inside a buffer of poison."""

    def __init__(self, values: torch.Tensor):
        self.poison = torch.nan if values.is_floating_point() else -(2**30)
        self.size = values.numel()
        self.buffer = torch.full((self.size + 2 * MARGIN,), self.poison, dtype=values.dtype, device=DEVICE)
        self.view = self.buffer[MARGIN : MARGIN + self.size].view(values.shape)
        self.view.copy_(values)

    def check_margins(self, role: str) -> None:
        margins = torch.cat([self.buffer[:MARGIN], self.buffer[MARGIN + self.size :]])
        untouched = margins.isnan() if margins.is_floating_point() else margins == self.poison
        assert untouched.all(), f"written beyond {role}"


def _is_f32(op: str, role: str) -> bool:
    return role in F32_ROLES or (role == "x" and op in F32_LATENTS)


def _rounded(op: str, role: str, values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    tensor: Any = torch.from_numpy(values)
    return tensor.to(dtype) if tensor.is_floating_point() and not _is_f32(op, role) else tensor
