"""The quantize_cache kernels: what an 8-bit cache must hold, for the frames that changed, and nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels.quantize_cache import quantize_cache
from tests.helpers import Arrays, i32
from tests.kernels.check import every_dtype, run_kernel, tensors_of
from tests.ops.quantized_cache import check_quantized, draw_cache, poisoned

# writes, lengths and rebase by slot; frames, tokens, heads, head_dim, capacity
CASES = [
    ((0,), (1,), (0,), 1, 1, 1, 16, 1),
    ((4, 0, 1), (5, 2, 3), (0, -7, 0), 1, 130, 2, 32, 5),  # the second slot's keys have moved
    ((1, 3), (3, 5), (0, 45), 2, 24, 3, 16, 5),
    ((2,), (3,), (0,), 1, 300, 1, 128, 3),
]


@every_dtype
@pytest.mark.parametrize(("writes", "lengths", "rebase", "frames", "tokens", "heads", "dim", "capacity"), CASES)
def test_every_shape(rng: np.random.Generator, dtype: torch.dtype, writes: tuple[int, ...], lengths: tuple[int, ...],
                     rebase: tuple[int, ...], frames: int, tokens: int, heads: int, dim: int,
                     capacity: int) -> None:  # fmt: skip
    changed = [set(range(write, write + frames)) | (set(range(length)) if move else set())
               for write, length, move in zip(writes, lengths, rebase, strict=True)]  # fmt: skip
    cache = draw_cache(rng, len(writes), capacity, tokens, heads, dim)
    state = {"ring_write": i32(*writes), "ring_length": i32(*lengths), "rebase": i32(*rebase)}
    check(cache, state, dtype, changed, frames, tokens)


@pytest.mark.parametrize(("write", "nearest"), [(-1, 0), (4, 3), (2**31 - 1, 3)])
def test_a_place_outside_of_the_cache_stays_inside(rng: np.random.Generator, write: int, nearest: int) -> None:
    state = {"ring_write": i32(write), "ring_length": i32(5), "rebase": i32(0)}
    check(draw_cache(rng, 1, 5, 20, 1, 32), state, torch.float32, [{nearest, nearest + 1}], frames=2, tokens=20)


def check(cache: Arrays, state: Arrays, dtype: torch.dtype, changed: list[set[int]], frames: int,
          tokens: int) -> None:  # fmt: skip
    slots, rows, heads, dim = cache["k_cache"].shape
    before = poisoned(slots, rows // tokens, tokens, heads, dim)
    given = tensors_of(cache, dtype)
    result = run_kernel(quantize_cache, {**given, **tensors_of(state)}, tensors_of(before), frames=frames,
                        frame_tokens=tokens)  # fmt: skip
    rounded = {role: values.float().numpy() for role, values in given.items()}
    check_quantized(rounded, {role: values.numpy() for role, values in result.items()}, before, changed, tokens)
