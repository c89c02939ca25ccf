"""The cross_attention kernel against a softmax over all rows; those that it folds into one are NaN for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference
from penstock.kernels.cross_attention import cross_attention
from tests.helpers import i32, normal
from tests.kernels.check import check_kernel, every_dtype

CASES = [(5, 1, 1, 16, 1), (5, 1, 1, 16, 0), (21, 77, 2, 32, 7), (9, 64, 1, 16, 63), (16, 130, 1, 128, 64)]


@every_dtype
@pytest.mark.parametrize(("queries", "rows", "heads", "head_dim", "prompt"), CASES)
def test_every_shape(rng: np.random.Generator, dtype: torch.dtype, queries: int, rows: int, heads: int, head_dim: int,
                     prompt: int) -> None:  # fmt: skip
    check_prompt(rng, dtype, queries, rows, heads, head_dim, prompt)


@pytest.mark.parametrize("prompt", [0, 1, 15, 16, 63, 64, 79, 80])
def test_every_prompt_length(rng: np.random.Generator, prompt: int) -> None:
    """No row, one row, all but one and all rows of a prompt, and the last row at both sides of a tile's end."""
    check_prompt(rng, torch.float32, 4, 80, 1, 16, prompt)


def check_prompt(rng: np.random.Generator, dtype: torch.dtype, queries: int, rows: int, heads: int, head_dim: int,
                 prompt: int) -> None:  # fmt: skip
    text = {role: normal(rng, rows, heads, head_dim) for role in ("k_text", "v_text")}
    for values in text.values():
        values[prompt + 1 :] = np.nan  # in truth they are as row `prompt`, but must not be read
    q = normal(rng, queries, heads * head_dim)

    def expected(tensors: dict[str, torch.Tensor]) -> reference.Outputs:
        full = {role: tensors[role].clone() for role in text}
        for values in full.values():
            values[prompt:] = values[prompt : prompt + 1]
        return reference.cross_attention(**{**tensors, **full})

    inputs = {"q": q, **text, "prompt_length": i32(prompt)}
    check_kernel(cross_attention, dtype, inputs, {"out": q.shape}, expected=expected)
