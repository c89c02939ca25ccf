"""The attention kernel for Hopper, without one: its source on emulated threads, with TMA, wgmma and mbarrier as the PTX
ISA describes them (tests/cuda/emulation), against float64; and its deal of the work against counting.

It shows that tiles, descriptors, fragments, phases and the schedule are right as far as the manual says; not how fast
it is, nor what the manual does not say. On a device: tests/gpu/test_rolling_attention.py.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import pytest
import torch

from penstock.kernels import reference
from penstock.kernels.rolling_attention import MERGE_ROWS, merge_attention_kernel
from tests.helpers import assert_accurate
from tests.kernels.check import DEVICE

from .conftest import AttentionShape

BLOCK = 128  # queries and keys of a tile, and head_dim


class Case(NamedTuple):
    lengths: tuple[int, ...]  # ring lengths, by slot
    queries: int
    frames: int  # of the cache
    frame_tokens: int
    heads: int
    programs: int


CASES = {
    "one ragged block": Case((1,), 5, 1, 17, 1, 1),
    "whole blocks": Case((2,), 128, 2, 128, 1, 1),
    "two tiles, cut": Case((3,), 200, 3, 120, 1, 3),
    "slots of other lengths": Case((2, 1), 130, 3, 150, 1, 4),
    "heads": Case((1, 2), 30, 2, 100, 3, 5),
    "a tile of many programs": Case((6,), 64, 6, 128, 1, 5),
}


@pytest.mark.parametrize("eager", [False, True], ids=["late", "early"])
@pytest.mark.parametrize("name", CASES)
def test_against_float64(rng: np.random.Generator, attention: ctypes.CDLL, name: str, eager: bool) -> None:
    """Unused keys and values and all outputs are NaN at first. Another order of the threads gives the same bits, and in
    it consumers that take turns."""
    case = CASES[name]
    inputs = draw(rng, case)
    first = run_kernel(attention, inputs, case, seed=1, eager=eager)
    again = run_kernel(attention, inputs, case, seed=77, eager=eager, ping_pong=not eager)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.view(torch.int32), other.view(torch.int32))
    check(merge(*first, inputs["ring_length"], case), inputs, case)


def test_large_scores(rng: np.random.Generator, attention: ctypes.CDLL) -> None:
    case = Case((2,), 40, 2, 130, 1, 2)
    inputs = draw(rng, case)
    inputs["q"] *= 12
    inputs["k_cache"] *= -12
    check(merge(*run_kernel(attention, inputs, case, seed=3), inputs["ring_length"], case), inputs, case)


def draw(rng: np.random.Generator, case: Case) -> dict[str, torch.Tensor]:
    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape, np.float32)).bfloat16()

    slots = len(case.lengths)
    caches = {
        name: normal(slots, case.frames * case.frame_tokens, case.heads, BLOCK) for name in ("k_cache", "v_cache")
    }
    for cache in caches.values():
        for slot, length in enumerate(case.lengths):
            cache[slot, length * case.frame_tokens :] = float("nan")
    q = normal(slots * case.queries, case.heads * BLOCK)
    return {"q": q, **caches, "ring_length": torch.tensor(case.lengths, dtype=torch.int32)}


def run_kernel(attention: ctypes.CDLL, inputs: dict[str, torch.Tensor], case: Case, seed: int, eager: bool = False,
               ping_pong: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """out bf16, partial and partial_stats, as the kernel leaves them."""
    out = torch.full_like(inputs["q"], float("nan"))
    partial = torch.full((2 * case.programs, BLOCK, BLOCK), float("nan"))
    stats = torch.full((2 * case.programs, 2, BLOCK), float("nan"))
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (*inputs.values(), out, partial, stats)]
    shape = AttentionShape(
        len(case.lengths), case.queries, case.frames * case.frame_tokens, case.frame_tokens, case.heads
    )
    problem = attention.emulate_rolling_attention(*pointers, ctypes.byref(shape), case.programs, seed, eager, ping_pong)
    assert problem is None, problem.decode()
    return out, partial, stats


def merge(out: torch.Tensor, partial: torch.Tensor, stats: torch.Tensor, ring_length: torch.Tensor,
          case: Case) -> torch.Tensor:  # fmt: skip
    """The second kernel, on an output in float32, as the interpreter computes bf16 wrongly."""
    merged = out.float().to(DEVICE)
    tiles = -(-case.queries // BLOCK)
    merge_attention_kernel[(BLOCK // MERGE_ROWS * tiles, case.heads, len(case.lengths))](
        partial.to(DEVICE), stats.to(DEVICE), ring_length.to(DEVICE), merged, len(case.lengths), case.queries,
        case.frames * case.frame_tokens, case.frame_tokens, case.heads, case.programs,
        HEAD_DIM=BLOCK, BLOCK_M=BLOCK, BLOCK_N=BLOCK, ROWS=MERGE_ROWS,
    )  # fmt: skip
    return merged.cpu().bfloat16()


def check(actual: torch.Tensor, inputs: dict[str, torch.Tensor], case: Case) -> None:
    exact = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
    expected = reference.rolling_attention(**exact, frame_tokens=case.frame_tokens)["out"]
    plain = reference.rolling_attention(**inputs, frame_tokens=case.frame_tokens)["out"]
    assert_accurate(actual.float().numpy(), expected, plain.float(), 0.0, "rolling_attention_sm90")
