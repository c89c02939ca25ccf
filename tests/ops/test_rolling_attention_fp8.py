"""rolling_attention_fp8 against float64 attention over the decoded cache; unused frames are NaN.

The yardstick is the same formula in torch with queries and weights rounded to e4m3.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import check_op, i32, normal
from tests.ops.quantized_cache import draw_cache, quantized

# ring lengths by slot, queries per slot, cache frames, tokens per cache frame, heads, head_dim
CASES = [
    ((1,), 1, 1, 1, 1, 32),
    ((4, 1), 15, 6, 15, 2, 32),
    ((3, 2), 70, 3, 130, 2, 128),
    ((6, 5, 3, 1), 7, 6, 7, 3, 64),
    ((21,), 9, 21, 3, 1, 64),
]


@pytest.mark.parametrize(("lengths", "queries", "frames", "frame_tokens", "heads", "head_dim"), CASES)
def test_every_shape(rng: np.random.Generator, lengths: tuple[int, ...], queries: int, frames: int, frame_tokens: int,
                     heads: int, head_dim: int) -> None:  # fmt: skip
    check_attention(rng, lengths, queries, frames, frame_tokens, heads, head_dim)


def test_a_full_production_cache(rng: np.random.Generator) -> None:
    """A chunk's queries cut short, to save time, over all 9360 keys of a head."""
    check_attention(rng, (6,), 130, 6, 1560, 1, 128)


def test_large_scores_do_not_overflow(rng: np.random.Generator) -> None:
    check_attention(rng, (2, 1), 8, 2, 8, 2, 64, scale=30.0)


def check_attention(rng: np.random.Generator, lengths: tuple[int, ...], queries: int, frames: int, frame_tokens: int,
                    heads: int, head_dim: int, scale: float = 1.0) -> None:  # fmt: skip
    cache = draw_cache(rng, len(lengths), frames, frame_tokens, heads, head_dim)
    inputs = {"q": normal(rng, len(lengths) * queries, heads * head_dim) * np.float32(scale),
              **quantized(cache, lengths, frame_tokens), "ring_length": i32(*lengths)}  # fmt: skip
    check_op("rolling_attention_fp8", inputs, {"out": inputs["q"].shape}, frame_tokens=frame_tokens)
