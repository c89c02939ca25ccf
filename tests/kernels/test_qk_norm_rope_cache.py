"""The qk_norm_rope_cache kernel against float64 with angles from the formula; the cache is NaN but for the chunk."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference
from penstock.kernels.qk_norm_rope_cache import qk_norm_rope_cache
from penstock.runtime.rope import rope_table
from tests.helpers import Arrays, i32, normal
from tests.kernels.check import check_kernel, every_dtype

# positions and cache frames by slot; frames, height, width, heads, head_dim, cache frames
CASES = [
    ((0,), (0,), 1, 1, 1, 1, 16, 1),
    ((7, 6, 5), (4, 3, 5), 1, 3, 2, 3, 32, 6),
    ((1021, 9), (3, 0), 3, 2, 1, 2, 16, 6),
    ((900, 44), (0, 0), 1, 1, 3, 2, 128, 1),  # a staging tensor
]


def draw(rng: np.random.Generator, positions: tuple[int, ...], writes: tuple[int, ...], frames: int, height: int,
         width: int, heads: int, head_dim: int, capacity: int) -> tuple[Arrays, Arrays, dict[str, float]]:  # fmt: skip
    """Inputs, poisoned caches, attributes."""
    tokens, d = len(writes) * frames * height * width, heads * head_dim
    inputs = {
        "qkv": normal(rng, tokens, 3 * d) * np.float32(2),
        "norm_q": normal(rng, d),
        "norm_k": normal(rng, d),
        "rope": rope_table(head_dim),
        "frame_position": i32(*positions),
        "ring_write": i32(*writes),
    }
    cache = np.full((len(writes), capacity * height * width, heads, head_dim), np.nan, np.float32)
    attributes = {"frames": frames, "height": height, "width": width, "frame_tokens": height * width, "eps": 1e-6}
    return inputs, {"k_cache": cache, "v_cache": cache.copy()}, attributes


@every_dtype
@pytest.mark.parametrize("case", CASES)
def test_every_shape(rng: np.random.Generator, dtype: torch.dtype, case: tuple) -> None:
    inputs, caches, attributes = draw(rng, *case)
    tokens, d = len(inputs["qkv"]), len(inputs["norm_q"])

    def expected(tensors: dict[str, torch.Tensor]) -> reference.Outputs:
        return reference.qk_norm_rope_cache(**{k: v for k, v in tensors.items() if k != "rope"}, **attributes)

    actual = check_kernel(qk_norm_rope_cache, dtype, inputs, {"q": (tokens, d)}, caches, expected, **attributes)
    assert np.isfinite(actual["k_cache"]).all(axis=(2, 3)).sum() == tokens


@pytest.mark.parametrize(
    ("position", "write", "nearest"), [(1024, 0, (1023, 0)), (-1, 5, (0, 5)), (3, 6, (3, 5)), (3, -1, (3, 0))]
)
def test_a_state_outside_of_table_and_cache_stays_inside(
    rng: np.random.Generator, position: int, write: int, nearest: tuple[int, int]
) -> None:
    """There is no error to return from a device; memory must be safe, so the nearest state counts."""
    inputs, caches, attributes = draw(rng, (position,), (write,), 1, 2, 1, 1, 16, 6)
    valid = {"frame_position": i32(nearest[0]), "ring_write": i32(nearest[1])}

    def expected(tensors: dict[str, torch.Tensor]) -> reference.Outputs:
        tensors = {role: torch.from_numpy(valid[role]) if role in valid else v for role, v in tensors.items()}
        return reference.qk_norm_rope_cache(**{k: v for k, v in tensors.items() if k != "rope"}, **attributes)

    check_kernel(qk_norm_rope_cache, torch.float32, inputs, {"q": (2, 16)}, caches, expected, **attributes)
