"""rolling_attention against a full softmax in float64; what lies past a ring's length is NaN and must not be read."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import check_op, i32, normal

# ring lengths by slot, queries per slot, cache frames, tokens per cache frame, heads, head_dim
CASES = [
    ((1,), 1, 1, 1, 1, 2),
    ((2,), 6, 3, 3, 2, 24),
    ((4, 1), 15, 6, 15, 2, 24),
    ((6, 5, 3, 1), 7, 6, 7, 3, 10),
    ((21,), 9, 21, 3, 1, 64),
    ((6, 3), 70, 6, 35, 2, 128),  # two frames in a chunk
    ((6, 4), 131, 6, 131, 2, 128),
    ((2, 1), 5, 3, 7, 40, 32),
]
# Queries of a chunk over a cache of production length, filled so far; of one head.
PRODUCTION = [
    ((7, 2), 1024, 7, 1024),
    ((6,), 1560, 6, 1560),
    ((3,), 3120, 21, 1560),
    ((1,), 3600, 6, 3600),
    ((3,), 4680, 6, 1560),
]


@pytest.mark.parametrize(("lengths", "queries", "frames", "frame_tokens", "heads", "head_dim"), CASES)
def test_every_shape(rng: np.random.Generator, lengths: tuple[int, ...], queries: int, frames: int, frame_tokens: int,
                     heads: int, head_dim: int) -> None:  # fmt: skip
    check_attention(rng, lengths, queries, frames, frame_tokens, heads, head_dim)


@pytest.mark.parametrize(("lengths", "queries", "frames", "frame_tokens"), PRODUCTION)
def test_production_lengths(rng: np.random.Generator, lengths: tuple[int, ...], queries: int, frames: int,
                            frame_tokens: int) -> None:  # fmt: skip
    check_attention(rng, lengths, queries, frames, frame_tokens, heads=1, head_dim=128)


def test_a_full_production_cache(rng: np.random.Generator) -> None:
    """A few of a chunk's queries, to save time, over all 9360 keys of 12 heads."""
    check_attention(rng, (6,), 100, 6, 1560, 12, 128)


def test_large_scores_do_not_overflow(rng: np.random.Generator) -> None:
    """Scores in the hundreds: exp of them is infinite unless the largest is taken off first."""
    check_attention(rng, (2, 1), 8, 2, 8, 2, 64, scale=12.0, atol=1e-5)


def check_attention(rng: np.random.Generator, lengths: tuple[int, ...], queries: int, frames: int, frame_tokens: int,
                    heads: int, head_dim: int, scale: float = 1.0, atol: float = 5e-7) -> None:  # fmt: skip
    slots = len(lengths)
    q = normal(rng, slots * queries, heads * head_dim) * np.float32(scale)
    caches = [normal(rng, slots, frames * frame_tokens, heads, head_dim) for _ in "kv"]
    caches[0] *= np.float32(scale)
    for cache in caches:
        for slot, length in enumerate(lengths):
            cache[slot, length * frame_tokens :] = np.nan
    inputs = {"q": q, "k_cache": caches[0], "v_cache": caches[1], "ring_length": i32(*lengths)}
    check_op("rolling_attention", inputs, {"out": q.shape}, atol=atol, frame_tokens=frame_tokens)
