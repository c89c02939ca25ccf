"""cache_write: the chunk's bits at its place, and nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, assert_same_bits, check_op, i32, normal, run_op


def chunk(rng: np.random.Generator, writes: tuple[int, ...], rows: int, heads: int, dim: int) -> Arrays:
    shape = (len(writes), rows, heads, dim)
    return {"k": normal(rng, *shape), "v": normal(rng, *shape), "ring_write": i32(*writes)}


def caches(slots: int, rows: int, heads: int, dim: int) -> Arrays:
    return {name: np.full((slots, rows, heads, dim), np.nan, np.float32) for name in ("k_cache", "v_cache")}


@pytest.mark.parametrize(
    ("writes", "frames", "tokens", "heads", "dim", "capacity"),
    [((0,), 1, 1, 1, 1, 1), ((5, 2, 0), 1, 15, 2, 24, 6), ((18, 3), 3, 7, 3, 10, 21), ((3, 1), 1, 700, 2, 128, 4)],
)
def test_every_shape(rng: np.random.Generator, writes: tuple[int, ...], frames: int, tokens: int, heads: int, dim: int,
                     capacity: int) -> None:  # fmt: skip
    inputs = chunk(rng, writes, frames * tokens, heads, dim)
    updates = caches(len(writes), capacity * tokens, heads, dim)
    result = check_op("cache_write", inputs, {}, updates, atol=0.0, frames=frames, frame_tokens=tokens)
    for slot, write in enumerate(writes):
        place = slice(write * tokens, (write + frames) * tokens)
        written = {role: result[f"{role}_cache"][slot, place] for role in "kv"}
        assert_same_bits(written, {role: inputs[role][slot] for role in "kv"}, "in the cache")
    assert np.isnan(result["k_cache"]).sum() == updates["k_cache"].size - inputs["k"].size


@pytest.mark.parametrize("write", [-1, 4, 2**31 - 1])
def test_a_place_outside_the_cache(rng: np.random.Generator, write: int) -> None:
    with pytest.raises(PenstockError, match=rf"ring_write\[0\] is {write}"):
        run_op("cache_write", chunk(rng, (write,), 9, 1, 4), {}, caches(1, 18, 1, 4), frames=3, frame_tokens=3)


def test_a_chunk_longer_than_the_cache(rng: np.random.Generator) -> None:
    with pytest.raises(PenstockError, match="fit into the cache"):
        run_op("cache_write", chunk(rng, (0,), 9, 1, 4), {}, caches(1, 6, 1, 4), frames=3, frame_tokens=3)
