"""The cache_write and replicate_slots kernels, which only copy: exact, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_cache
from penstock.kernels.cache_write import cache_write
from penstock.kernels.replicate_slots import replicate_slots
from tests.helpers import i32, normal
from tests.kernels.check import check_kernel, every_dtype


@every_dtype
@pytest.mark.parametrize(("slots", "tokens", "heads", "head_dim"), [(1, 3, 1, 16), (3, 9, 3, 96)])
def test_replicate_slots(
    rng: np.random.Generator, dtype: torch.dtype, slots: int, tokens: int, heads: int, head_dim: int
) -> None:
    cache = normal(rng, slots, tokens, heads, head_dim)
    cache[1:] = np.nan
    check_kernel(replicate_slots, dtype, {}, {}, {"x": cache})


@every_dtype
@pytest.mark.parametrize(
    ("writes", "frames", "tokens", "heads", "head_dim", "capacity"),
    [((0,), 1, 1, 1, 16, 1), ((4, 0, 2), 1, 15, 2, 96, 5), ((3, 0), 2, 7, 1, 32, 5)],
)
def test_cache_write(rng: np.random.Generator, dtype: torch.dtype, writes: tuple[int, ...], frames: int, tokens: int,
                     heads: int, head_dim: int, capacity: int) -> None:  # fmt: skip
    chunk = {role: normal(rng, len(writes), frames * tokens, heads, head_dim) for role in "kv"}
    inputs, updates = {**chunk, "ring_write": i32(*writes)}, caches(len(writes), capacity, tokens, heads, head_dim)
    check_kernel(cache_write, dtype, inputs, {}, updates, frames=frames, frame_tokens=tokens)


@pytest.mark.parametrize(("write", "nearest"), [(-1, 0), (4, 3), (2**31 - 1, 3)])
def test_a_place_outside_of_the_cache_stays_inside(rng: np.random.Generator, write: int, nearest: int) -> None:
    chunk = {role: normal(rng, 1, 6, 1, 16) for role in "kv"}

    def expected(tensors: dict[str, torch.Tensor]) -> reference_cache.Outputs:
        return reference_cache.cache_write(
            **{**tensors, "ring_write": torch.tensor([nearest])}, frames=2, frame_tokens=3
        )

    check_kernel(cache_write, torch.float32, {**chunk, "ring_write": i32(write)}, {}, caches(1, 5, 3, 1, 16), expected,
                 frames=2, frame_tokens=3)  # fmt: skip


def caches(slots: int, capacity: int, tokens: int, heads: int, head_dim: int) -> dict[str, np.ndarray]:
    shape = (slots, capacity * tokens, heads, head_dim)
    return {role: np.full(shape, np.nan, np.float32) for role in ("k_cache", "v_cache")}
