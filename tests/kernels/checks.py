"""How a Triton kernel's result is accepted: the rule of tests.helpers.check_op, in the precisions of the interpreter.

bf16, which the kernels are compiled for, is not one of them, for the interpreter computes nonsense in it; on a device
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from tests.helpers import Arrays, relative_l2

Tensors = dict[str, Tensor]

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Relative to the norm: the rounding that no computation avoids.
ATOL = {torch.float32: 5e-7, torch.float16: 1e-4} | ({torch.bfloat16: 1e-3} if DEVICE == "cuda" else {})
DTYPES = tuple(ATOL)


def cast(arrays: Mapping[str, np.ndarray], dtype: torch.dtype, keep: tuple[str, ...] = ()) -> Tensors:
    """Torch copies, floats in ``dtype`` but for the roles ``keep``, which are f32 on every device."""
    tensors = {role: torch.from_numpy(values.copy()).to(DEVICE) for role, values in arrays.items()}
    return {role: values.to(dtype) if values.is_floating_point() and role not in keep else values
            for role, values in tensors.items()}  # fmt: skip


def widen(tensors: Tensors) -> Tensors:
    return {role: values.double() if values.is_floating_point() else values for role, values in tensors.items()}


def poison(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return (
        torch.full(shape, float("nan")).to(dtype) if dtype.is_floating_point else torch.full(shape, -123, dtype=dtype)
    )


def assert_close(actual: Tensor, exact: Tensor, plain: Tensor, what: str, atol: float) -> None:
    """NaN (poison) exactly where the reference has it; a relative L2 error of twice that of the plain computation."""
    assert actual.shape == exact.shape, what
    assert torch.equal(torch.isnan(actual), torch.isnan(exact)), f"{what}: NaN in the wrong places"
    error, yardstick = (relative_l2(values.double().nan_to_num(), exact.nan_to_num()) for values in (actual, plain))
    assert error <= 2 * yardstick + atol, f"{what}: relative L2 {error:.2e}, plain {yardstick:.2e}"


def check(
    launch: Callable[[Tensors, Tensors], None],
    expected: Callable[[Tensors], Tensors],
    inputs: Arrays,
    outputs: Mapping[str, tuple[int, ...]],
    keep: tuple[str, ...] = (),
    updates: tuple[str, ...] = (),
) -> None:
    """launch(inputs, outputs) writes NaN-filled outputs, and the inputs named ``updates``; in f32 and in f16.

    Outputs named in ``keep`` are f32. ``expected`` is the reference of the inputs.
    """
    for dtype in DTYPES:
        given = cast(inputs, dtype, keep)
        exact, plain = expected(widen(given)), expected(given)
        written = {role: poison(shape, torch.float32 if role in keep else dtype) for role, shape in outputs.items()}
        launch(given, written)
        for role in (*outputs, *updates):
            actual = written[role] if role in outputs else given[role]
            assert_close(actual, exact[role], plain[role].to(actual.dtype), f"{role} in {dtype}", ATOL[dtype])
