"""Attention over the rolling cache on a device, in all forms, at production shapes, against float64 and torch.

When the form "cuda" passes here on a Hopper, kIsVerifiedOnDevice of csrc/ops/rolling_attention/choice.h may be set.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from penstock.kernels.nvcc import obstacle
from penstock.runtime.engine import Engine, Session
from penstock.runtime.plan import PlanBuilder
from tests.helpers import relative_l2

HEAD_DIM = 128
QUERIES = {1024: 1024, 1560: 1560, 3120: 1560, 3600: 3600, 4680: 1560}  # of a chunk: tokens of a cache frame
LARGEST_CACHE = 1 << 29  # bytes of one cache; beyond it the host takes longer than the rest
FORMS = ["triton", *(pytest.param(name, marks=pytest.mark.skipif(obstacle() is not None, reason=str(obstacle())))
                     for name in ("cuda", "cuda_ping_pong"))]  # fmt: skip


class Case(NamedTuple):
    slots: int
    heads: int
    queries: int
    frames: int

    @property
    def frame_tokens(self) -> int:
        return QUERIES[self.queries]

    @property
    def cache_shape(self) -> tuple[int, ...]:
        return self.slots, self.frames * self.frame_tokens, self.heads, HEAD_DIM

    @property
    def is_small_enough(self) -> bool:
        return 2 * int(np.prod(self.cache_shape)) <= LARGEST_CACHE


CASES = [case for values in itertools.product((1, 2, 4), (12, 40), QUERIES, (6, 7, 21))
         if (case := Case(*values)).is_small_enough]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "x".join(map(str, case)))
def test_production_shape(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, case: Case, form: str) -> None:
    """Full caches, then lengths drawn anew; what is not in use is NaN. A second run gives the same bits."""
    check_lengths(rng, monkeypatch, case, form, [[case.frames] * case.slots, random_lengths(rng, case)])


@pytest.mark.parametrize("form", FORMS)
def test_every_length(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """A cache that fills frame by frame, the second slot behind the first."""
    case = Case(2, 12, 1560, 7)
    check_lengths(rng, monkeypatch, case, form, [[length, max(1, length - 1)] for length in range(1, 8)])


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
@pytest.mark.parametrize("form", ["triton", "cuda", "cuda_ping_pong"])
def test_sanitizer(tool: str, form: str) -> None:
    sanitizer = shutil.which("compute-sanitizer", path="/usr/local/cuda/bin") or shutil.which("compute-sanitizer")
    if not sanitizer:
        pytest.skip("compute-sanitizer is not installed")
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::test_production_shape", "-k",
             f"1x12x1024x6-{form}"]  # fmt: skip
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, *tests]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


def random_lengths(rng: np.random.Generator, case: Case) -> list[int]:
    return rng.integers(1, case.frames, case.slots, endpoint=True).tolist()


def check_lengths(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, case: Case, form: str,
                  every_lengths: list[list[int]]) -> None:  # fmt: skip
    monkeypatch.setenv("PENSTOCK_IMPL", f"rolling_attention={form}")
    session = open_session(case)
    torch.manual_seed(int(rng.integers(1 << 31)))
    options = {"dtype": torch.bfloat16, "device": "cuda"}
    q = torch.randn(case.slots * case.queries, case.heads * HEAD_DIM, **options)
    k, v = (torch.randn(case.cache_shape, **options) for _ in "kv")
    for lengths in every_lengths:
        write(session, q, *(poison_unused(cache, lengths, case) for cache in (k, v)), lengths)
        out = run(session, q)
        assert torch.equal(run(session, q).view(torch.int16), out.view(torch.int16))
        check(rng, out, q, k, v, lengths, case)


def open_session(case: Case) -> Session:
    plan = PlanBuilder("attention", {})
    q_shape = (case.slots * case.queries, case.heads * HEAD_DIM)
    inputs = {
        "q": plan.input("q", q_shape, dtype="compute"),
        "ring_length": plan.input("ring_length", (case.slots,), dtype="i32"),
    }
    inputs |= {role: plan.input(role, case.cache_shape, dtype="compute") for role in ("k_cache", "v_cache")}
    outputs = {"out": plan.output("out", q_shape, dtype="compute")}
    with plan.phase("run"):
        plan.op("rolling_attention", inputs, outputs, frame_tokens=case.frame_tokens)
    return Engine.create(plan.finish(), [], device="cuda").session()


def write(session: Session, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: list[int]) -> None:
    for role, tensor in {"q": q, "k_cache": k, "v_cache": v}.items():
        write_bits(session, role, tensor)
    session.write("ring_length", np.array(lengths, np.int32))


def write_bits(session: Session, role: str, tensor: torch.Tensor) -> None:
    session._handle.write(role, tensor.view(torch.uint16).cpu().numpy())


def run(session: Session, q: torch.Tensor) -> torch.Tensor:
    """Onto NaN."""
    write_bits(session, "out", torch.full_like(q, float("nan")))
    session.run("run")
    return torch.from_numpy(session.read("out")).view(torch.bfloat16).to(q.device)


def poison_unused(cache: torch.Tensor, lengths: list[int], case: Case) -> torch.Tensor:
    poisoned = cache.clone()
    for slot, length in enumerate(lengths):
        poisoned[slot, length * case.frame_tokens :] = float("nan")
    return poisoned


def check(rng: np.random.Generator, out: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor,
          lengths: list[int], case: Case) -> None:  # fmt: skip
    """Every head against torch's attention; of each slot one head, drawn anew, against float64."""
    shape = (case.slots, case.queries, case.heads, HEAD_DIM)
    for slot, length in enumerate(lengths):
        used = slice(length * case.frame_tokens)
        rows = [tensor.view(shape)[slot].transpose(0, 1) for tensor in (out, q)]
        actual, queries, keys, values = (*rows, k[slot, used].transpose(0, 1), v[slot, used].transpose(0, 1))
        library = F.scaled_dot_product_attention(queries[None], keys[None], values[None])[0]
        assert relative_l2(actual, library) < 1e-2
        head = int(rng.integers(case.heads))
        exact = attend(queries[head].double(), keys[head].double(), values[head].double())
        error, yardstick = (relative_l2(one, exact) for one in (
            actual[head], attend(queries[head], keys[head], values[head])))  # fmt: skip
        print(f"slot {slot}, {length} frames, head {head}: relative L2 {error:.1e}, plain bf16 {yardstick:.1e}")
        assert error <= 2 * yardstick


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Plain attention of one head in the dtype of its arguments, some queries at a time to save memory."""
    parts = [((part @ k.T) / HEAD_DIM**0.5).softmax(-1) @ v for part in q.split(512)]
    return torch.cat(parts)
