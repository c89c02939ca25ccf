"""The rolling_attention kernel against a full softmax; past a ring's length there is NaN, which must not pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels.rolling_attention import rolling_attention
from tests.helpers import i32, normal
from tests.kernels.check import DEVICE, check_kernel, every_dtype

# ring lengths by slot, queries per slot, cache frames, tokens per cache frame, heads, head_dim, tiles, programs
CASES = [
    ((1,), 1, 1, 1, 1, 16, 16, 16, 1),
    ((4, 1), 21, 6, 15, 2, 32, 16, 32, 3),  # ragged queries and keys
    ((2, 3), 16, 3, 16, 1, 64, 16, 16, 4),  # neither is ragged; a tile of 3 blocks for 2 programs
    ((6, 5, 3), 7, 6, 7, 3, 16, 16, 16, 5),
    ((3, 2), 130, 3, 50, 1, 128, 128, 128, 2),
    ((6,), 20, 6, 20, 1, 16, 16, 16, 7),  # a tile for several programs, one of which holds the middle only
    ((1, 2), 5, 2, 16, 1, 16, 16, 16, 9),  # more programs than units: most do nothing
    ((2, 1), 33, 3, 16, 2, 16, 16, 16, 1),  # one program for all tiles: nothing to merge
    ((21, 3, 20, 1), 5, 21, 5, 1, 16, 16, 32, 6),  # slots of very unequal lengths
    ((2,), 3, 2, 5, 12, 16, 16, 16, 5),
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


@pytest.mark.parametrize("sign", [1, -1])
def test_large_scores(rng: np.random.Generator, sign: int) -> None:
    """Scores of hundreds, all of one sign: exp overflows, or all weights vanish, unless the largest is taken off."""
    inputs = draw(rng, (3, 1), 8, 3, 8, 2, 64)
    inputs["q"] = np.abs(inputs["q"]) * np.float32(12)
    inputs["k_cache"] = np.abs(inputs["k_cache"]) * np.float32(12 * sign)
    check_attention(inputs, torch.float32, 8, 16, 16, programs=3, atol=1e-5)


def draw(rng: np.random.Generator, lengths: tuple[int, ...], queries: int, frames: int, frame_tokens: int, heads: int,
         head_dim: int) -> dict[str, np.ndarray]:  # fmt: skip
    caches = {
        name: normal(rng, len(lengths), frames * frame_tokens, heads, head_dim) for name in ("k_cache", "v_cache")
    }
    for cache in caches.values():
        for slot, length in enumerate(lengths):
            cache[slot, length * frame_tokens :] = np.nan
    return {"q": normal(rng, len(lengths) * queries, heads * head_dim), **caches, "ring_length": i32(*lengths)}


def check_attention(inputs: dict[str, np.ndarray], dtype: torch.dtype, frame_tokens: int, block_m: int, block_n: int,
                    programs: int, atol: float = 5e-7) -> None:  # fmt: skip
    if DEVICE == "cuda" and dtype == torch.float32:
        block_m, block_n = min(block_m, 64), min(block_n, 64)  # tiles twice as big would not fit into shared memory

    def rolling(**tensors: torch.Tensor) -> None:
        rolling_attention(**tensors, block_m=block_m, block_n=block_n, programs=programs)

    rolling.__name__ = "rolling_attention"
    check_kernel(rolling, dtype, inputs, {"out": inputs["q"].shape}, atol=atol, frame_tokens=frame_tokens)
