"""quantize_cache: what an 8-bit cache must hold, for the frames that changed, and nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, assert_same_bits, i32, run_op
from tests.ops.quantized_cache import check_quantized, draw_cache, poisoned

# writes, lengths and rebase by slot; frames, tokens, heads, head_dim, capacity
CASES = [
    ((0,), (1,), (0,), 1, 1, 1, 32, 1),
    ((4, 0, 1), (5, 2, 3), (0, -7, 0), 1, 130, 2, 32, 5),  # the second slot's keys have moved
    ((1, 3), (3, 5), (0, 45), 2, 24, 3, 16, 5),
    ((2,), (3,), (0,), 1, 300, 2, 128, 3),
]


@pytest.mark.parametrize(("writes", "lengths", "rebase", "frames", "tokens", "heads", "dim", "capacity"), CASES)
def test_every_shape(rng: np.random.Generator, writes: tuple[int, ...], lengths: tuple[int, ...],
                     rebase: tuple[int, ...], frames: int, tokens: int, heads: int, dim: int,
                     capacity: int) -> None:  # fmt: skip
    cache = draw_cache(rng, len(writes), capacity, tokens, heads, dim)
    before = poisoned(len(writes), capacity, tokens, heads, dim)
    state = {"ring_write": i32(*writes), "ring_length": i32(*lengths), "rebase": i32(*rebase)}
    results = [run_op("quantize_cache", {**cache, **state}, {}, before, threads=threads, frames=frames,
                      frame_tokens=tokens) for threads in (1, 2)]  # fmt: skip
    assert_same_bits(results[1], results[0], "for 1 and 2 threads")
    changed = [set(range(write, write + frames)) | (set(range(length)) if move else set())
               for write, length, move in zip(writes, lengths, rebase, strict=True)]  # fmt: skip
    check_quantized(cache, results[0], before, changed, tokens)


@pytest.mark.parametrize("value", [0.0, 448.0, 449.0, 3e-39, 1e-30, 3e38])
def test_scales_at_the_limits(value: float) -> None:
    """A block of one value: its code is exact for powers of two, and the scale stays a number."""
    cache = {role: np.full((1, 3, 1, 16), value, np.float32) for role in ("k_cache", "v_cache")}
    result = quantize(cache, i32(0))
    assert not result["k_codes"].any(), "keys that are their own mean"
    decoded = value_of(result["v_codes"][0, 0, 0, :, :3]) * result["v_scale"][0, 0, 0, 0]
    np.testing.assert_allclose(decoded, value, rtol=1 / 16, atol=2.0**-110)


def test_a_nan_stays_in_its_block() -> None:
    cache = {role: np.ones((1, 200, 1, 16), np.float32) for role in ("k_cache", "v_cache")}
    cache["v_cache"][0, 150, 0, 3] = np.nan
    result = quantize(cache, i32(0))
    np.testing.assert_array_equal(value_of(result["v_codes"][0, 0, 0, :, :128]) * result["v_scale"][0, 0, 0, 0], 1.0)


@pytest.mark.parametrize("write", [-1, 1, 2**31 - 1])
def test_a_place_outside_the_cache(write: int) -> None:
    cache = {role: np.ones((1, 3, 1, 16), np.float32) for role in ("k_cache", "v_cache")}
    with pytest.raises(PenstockError, match=rf"ring_write\[0\] is {write}"):
        quantize(cache, i32(write))


def test_codes_of_another_length() -> None:
    cache = {role: np.ones((1, 3, 1, 16), np.float32) for role in ("k_cache", "v_cache")}
    with pytest.raises(PenstockError, match="rounded up to a multiple of 128"):
        quantize(cache, i32(0), padded_for=129)


def quantize(cache: Arrays, write: np.ndarray, padded_for: int | None = None) -> Arrays:
    """A cache of one frame."""
    _, tokens, heads, dim = cache["k_cache"].shape
    state = {"ring_write": write, "ring_length": i32(1), "rebase": i32(0)}
    return run_op("quantize_cache", {**cache, **state}, {}, poisoned(1, 1, padded_for or tokens, heads, dim), frames=1,
                  frame_tokens=tokens)  # fmt: skip


def value_of(codes: np.ndarray) -> np.ndarray:
    import torch

    return torch.from_numpy(codes.copy()).view(torch.float8_e4m3fn).float().numpy()
