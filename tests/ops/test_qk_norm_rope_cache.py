"""qk_norm_rope_cache against float64, angles from the formula; the cache is NaN except where the chunk is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from penstock.kernels import reference
from penstock.runtime.errors import PenstockError
from penstock.runtime.rope import POSITIONS, rope_table
from tests.helpers import Arrays, check_op, i32, normal, run_op


@dataclass(frozen=True)
class Case:
    """positions and writes by slot; the rest as in the op's contract."""

    positions: tuple[int, ...]
    writes: tuple[int, ...]
    frames: int
    height: int
    width: int
    heads: int
    head_dim: int
    capacity: int = 6

    @property
    def attributes(self) -> dict[str, int | float | str]:
        shape = {"frames": self.frames, "height": self.height, "width": self.width}
        return {**shape, "frame_tokens": self.height * self.width, "eps": 1e-6}

    @property
    def tokens(self) -> int:
        return len(self.positions) * self.frames * self.height * self.width

    def inputs(self, rng: np.random.Generator) -> Arrays:
        full = self.heads * self.head_dim
        return {
            "qkv": normal(rng, self.tokens, 3 * full) * np.float32(2),
            "norm_q": normal(rng, full),
            "norm_k": normal(rng, full),
            "rope": rope_table(self.head_dim),
            "frame_position": i32(*self.positions),
            "ring_write": i32(*self.writes),
        }

    def poisoned_caches(self) -> Arrays:
        shape = (len(self.writes), self.capacity * self.height * self.width, self.heads, self.head_dim)
        return {name: np.full(shape, np.nan, np.float32) for name in ("k_cache", "v_cache")}


CASES = [
    Case((0,), (0,), 1, 1, 1, 1, 2, capacity=1),
    Case((0,), (0,), 2, 3, 5, 2, 24),
    Case((7, 6, 5), (4, 3, 5), 1, 3, 5, 2, 24),
    Case((1023, 0), (5, 0), 1, 5, 3, 3, 10),
    Case((900, 2, 513, 44), (3, 2, 5, 4), 1, 4, 6, 2, 128),
    Case((1021, 9), (18, 0), 3, 7, 2, 1, 16, capacity=21),
    Case((50,), (3,), 1, 30, 52, 12, 128, capacity=4),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.frames}x{case.height}x{case.width}x{case.head_dim}")
def test_every_shape(rng: np.random.Generator, case: Case) -> None:
    def expected(tensors: dict[str, torch.Tensor]) -> reference.Outputs:
        return reference.qk_norm_rope_cache(**{k: v for k, v in tensors.items() if k != "rope"}, **case.attributes)

    outputs = {"q": (case.tokens, case.heads * case.head_dim)}
    actual = check_op(
        "qk_norm_rope_cache", case.inputs(rng), outputs, case.poisoned_caches(), expected, **case.attributes
    )
    untouched = np.isnan(actual["k_cache"]).all(axis=(2, 3)).sum()
    assert untouched == len(case.writes) * case.capacity * case.height * case.width - case.tokens


@pytest.mark.parametrize(("position", "write"), [(POSITIONS, 0), (-1, 0), (0, 6), (0, -1)])
def test_a_state_outside_its_table_is_an_error(rng: np.random.Generator, position: int, write: int) -> None:
    case = Case((position,), (write,), 1, 2, 2, 1, 8)
    with pytest.raises(PenstockError, match=r"frame_position|ring_write"):
        run_op("qk_norm_rope_cache", case.inputs(rng), {"q": (4, 8)}, case.poisoned_caches(), **case.attributes)
