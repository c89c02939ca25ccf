"""Attention in 8 bits on a device, both ops in one plan, at production shapes, against float64.

PENSTOCK_OPS_DEVICE=cpu checks this file itself, on the CPU backend, at a small shape.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from penstock.kernels import reference, reference_cache
from penstock.runtime.engine import Engine, Session
from penstock.runtime.plan import PlanBuilder
from tests.helpers import Arrays, relative_l2
from tests.ops.quantized_cache import ROLES, poisoned

DEVICE = os.environ.get("PENSTOCK_OPS_DEVICE", "cuda")
HEAD_DIM = 128
# slots, heads, queries, tokens of a frame, frames
CASES = [(1, 12, 1560, 1560, 6), (2, 12, 1560, 1560, 7), (4, 12, 1024, 1024, 6), (1, 40, 3600, 3600, 6),
         (1, 12, 4680, 1560, 21)] if DEVICE == "cuda" else [(2, 2, 200, 140, 3)]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: "x".join(map(str, case)))
def test_production_shape(rng: np.random.Generator, case: tuple[int, ...]) -> None:
    """Full caches, then lengths drawn anew; what is not in use is NaN, and keys have outliers. Of each slot one head is
    compared. A second run gives the same bits."""
    slots, heads, queries, tokens, frames = case
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
    q = torch.randn(slots * queries, heads * HEAD_DIM, generator=generator)
    keys, values = (torch.randn(slots, frames * tokens, heads, HEAD_DIM, generator=generator) for _ in "kv")
    keys[..., :4] += 10
    tensors = {role: tensor.bfloat16().float() for role, tensor in
               {"q": q, "k_cache": keys, "v_cache": values}.items()}  # fmt: skip
    session = open_session(case)
    for lengths in ([frames] * slots, rng.integers(1, frames, slots, endpoint=True).tolist()):
        out = run(session, tensors, lengths, tokens)
        assert torch.equal(run(session, tensors, lengths, tokens), out)
        for slot, length in enumerate(lengths):
            head = int(rng.integers(heads))
            check_head(out, tensors, slot, length, head, case)


def open_session(case: tuple[int, ...]) -> Session:
    slots, heads, queries, tokens, frames = case
    plan = PlanBuilder("attention in 8 bits", {})
    cache = {role: plan.input(role, (slots, frames * tokens, heads, HEAD_DIM), dtype="compute")
             for role in ("k_cache", "v_cache")}  # fmt: skip
    state = {role: plan.input(role, (slots,), dtype="i32") for role in ("ring_write", "ring_length", "rebase")}
    copy = {role: plan.state(role, values.shape, "u8" if "codes" in role else "f32")
            for role, values in poisoned(slots, frames, tokens, heads, HEAD_DIM).items()}  # fmt: skip
    q = plan.input("q", (slots * queries, heads * HEAD_DIM), dtype="compute")
    out = plan.output("out", q.shape, dtype="compute")
    with plan.phase("run"):
        plan.op("quantize_cache", {**cache, **state}, updates=copy, frames=1, frame_tokens=tokens)
        plan.op("rolling_attention_fp8", {"q": q, **copy, "ring_length": state["ring_length"]}, {"out": out},
                frame_tokens=tokens)  # fmt: skip
    return Engine.create(plan.finish(), [], device=DEVICE).session()


def run(session: Session, tensors: dict[str, torch.Tensor], lengths: list[int], tokens: int) -> torch.Tensor:
    slots, rows, heads, _ = tensors["k_cache"].shape
    given: Arrays = {"out": np.full(tensors["q"].shape, np.nan, np.float32),
                     **poisoned(slots, rows // tokens, tokens, heads, HEAD_DIM)}  # fmt: skip
    for role, tensor in tensors.items():
        values = tensor.numpy().copy()
        for slot, length in enumerate(lengths if role != "q" else ()):
            values[slot, length * tokens :] = np.nan
        given[role] = values
    given |= {"ring_length": np.array(lengths, np.int32), "ring_write": np.zeros(slots, np.int32),
              "rebase": np.ones(slots, np.int32)}  # fmt: skip
    for role, values in given.items():
        session.write(role, values)
    session.run("run")
    return torch.from_numpy(session.read_floats("out"))


def check_head(out: torch.Tensor, tensors: dict[str, torch.Tensor], slot: int, length: int, head: int,
               case: tuple[int, ...]) -> None:  # fmt: skip
    """At most twice as far from float64 as the same roundings in torch."""
    slots, heads, queries, tokens, _ = case
    rows = slice(head, head + 1)
    q, actual = (tensor.view(slots, queries, heads, HEAD_DIM)[slot, :, head] for tensor in (tensors["q"], out))
    cache = {role: tensors[role][slot : slot + 1, : length * tokens, rows] for role in ("k_cache", "v_cache")}
    ring_length, none = torch.tensor([length]), torch.tensor([0])
    empty = {role: torch.from_numpy(values) for role, values in poisoned(1, length, tokens, 1, HEAD_DIM).items()}
    copy = reference_cache.quantize_cache(**cache, ring_write=none, ring_length=ring_length, rebase=none, **empty,
                                          frames=length, frame_tokens=tokens)  # fmt: skip
    assert set(copy) == set(ROLES)
    exact = reference.rolling_attention(q.double(), *(part.double() for part in cache.values()), ring_length, tokens)
    plain = reference.rolling_attention_fp8(q, **copy, ring_length=ring_length, frame_tokens=tokens)
    error, yardstick = (relative_l2(one, exact["out"]) for one in (actual, plain["out"]))
    print(f"slot {slot}, {length} frames, head {head}: relative L2 {error:.1e}, the same roundings {yardstick:.1e}")
    assert error <= 2 * yardstick
