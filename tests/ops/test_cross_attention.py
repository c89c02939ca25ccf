"""cross_attention against a softmax over all rows in float64: folding the identical padding rows changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import check_op, i32, normal

CASES = [(5, 1, 1, 2, 1), (6, 40, 2, 24, 7), (33, 77, 3, 10, 76), (131, 512, 2, 128, 19)]  # M, T, H, D, prompt length


@pytest.mark.parametrize(("queries", "rows", "heads", "head_dim", "prompt"), CASES)
def test_every_shape(rng: np.random.Generator, queries: int, rows: int, heads: int, head_dim: int, prompt: int) -> None:
    check_prompt(rng, queries, rows, heads, head_dim, prompt)


@pytest.mark.parametrize("prompt", [0, 1, 19, 511, 512])
def test_every_prompt_length(rng: np.random.Generator, prompt: int) -> None:
    """No row, one row, all but one and all rows of a prompt."""
    check_prompt(rng, 20, 512, 2, 128, prompt)


def test_a_production_chunk(rng: np.random.Generator) -> None:
    check_prompt(rng, 1560, 512, 12, 128, 60)


def check_prompt(rng: np.random.Generator, queries: int, rows: int, heads: int, head_dim: int, prompt: int) -> None:
    k, v = (normal(rng, rows, heads, head_dim) for _ in "kv")
    k[prompt:], v[prompt:] = normal(rng, heads, head_dim), normal(rng, heads, head_dim)  # padding rows are all the same
    q = normal(rng, queries, heads * head_dim)
    inputs = {"q": q, "k_text": k, "v_text": v, "prompt_length": i32(prompt)}
    check_op("cross_attention", inputs, {"out": q.shape})
