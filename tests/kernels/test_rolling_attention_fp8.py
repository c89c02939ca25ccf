"""The rolling_attention_fp8 kernel against float64 attention over the decoded cache; unused frames are NaN."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference
from penstock.kernels.rolling_attention_fp8 import rolling_attention_fp8
from tests.helpers import Arrays, i32, normal
from tests.kernels.check import check_kernel, every_dtype, tensors_of
from tests.ops.quantized_cache import draw_cache, quantized

# ring lengths by slot, queries per slot, cache frames, tokens per cache frame, heads, head_dim, tiles, programs
CASES = [
    ((1,), 1, 1, 1, 1, 32, 16, 32, 1),
    ((4, 1), 21, 6, 15, 2, 32, 16, 64, 3),
    ((2, 3), 16, 3, 130, 1, 64, 16, 32, 4),  # a tile of 24 blocks for 4 programs; frames of 2 scales
    ((3, 2), 130, 3, 140, 1, 128, 128, 128, 2),
    ((1, 2), 5, 2, 16, 1, 32, 16, 128, 9),  # more programs than units: most do nothing
]


@every_dtype
@pytest.mark.parametrize(
    ("lengths", "queries", "frames", "frame_tokens", "heads", "head_dim", "block_m", "block_n", "programs"), CASES
)
def test_every_shape(rng: np.random.Generator, dtype: torch.dtype, lengths: tuple[int, ...], queries: int, frames: int,
                     frame_tokens: int, heads: int, head_dim: int, block_m: int, block_n: int,
                     programs: int) -> None:  # fmt: skip
    inputs = draw(rng, lengths, queries, frames, frame_tokens, heads, head_dim)
    check_attention(inputs, dtype, frame_tokens, block_m, block_n, programs)


def test_large_scores(rng: np.random.Generator) -> None:
    inputs = draw(rng, (3, 1), 8, 3, 8, 2, 64)
    inputs["q"] *= np.float32(30)
    check_attention(inputs, torch.float32, 8, 16, 32, programs=3)


def test_one_rounding_apart(rng: np.random.Generator) -> None:
    """With one block of keys weights are rounded relative to the largest of all, as in the plain computation: what is
    left is a few weights that fall on the other side of a tie."""
    inputs = draw(rng, (1,), 40, 1, 100, 1, 64)
    launched = check_attention(inputs, torch.float32, 100, 64, 128, programs=1)
    plain = reference.rolling_attention_fp8(**tensors_of(inputs), frame_tokens=100)["out"].numpy()
    assert np.abs(launched - plain).max() < 4e-3 * np.abs(plain).max()


def draw(rng: np.random.Generator, lengths: tuple[int, ...], queries: int, frames: int, frame_tokens: int, heads: int,
         head_dim: int) -> Arrays:  # fmt: skip
    cache = draw_cache(rng, len(lengths), frames, frame_tokens, heads, head_dim)
    return {"q": normal(rng, len(lengths) * queries, heads * head_dim), **quantized(cache, lengths, frame_tokens),
            "ring_length": i32(*lengths)}  # fmt: skip


def check_attention(inputs: Arrays, dtype: torch.dtype, frame_tokens: int, block_m: int, block_n: int,
                    programs: int) -> np.ndarray:  # fmt: skip
    def rolling(**tensors: torch.Tensor) -> None:
        rolling_attention_fp8(**tensors, block_m=block_m, block_n=block_n, programs=programs)

    rolling.__name__ = "rolling_attention_fp8"
    return check_kernel(rolling, dtype, inputs, {"out": inputs["q"].shape}, frame_tokens=frame_tokens)["out"]
