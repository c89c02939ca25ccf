"""rebase_keys against float64 rotations, and against keys that were written at the new position at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference
from penstock.runtime.errors import PenstockError
from penstock.runtime.rope import rope_table
from tests.helpers import assert_same_bits, check_op, i32, normal, run_op


def inputs(head_dim: int, *rebase: int) -> dict[str, np.ndarray]:
    return {"rope": rope_table(head_dim), "rebase": i32(*rebase)}


@pytest.mark.parametrize(
    ("shape", "tokens", "sinks", "rebase"),
    [
        ((2, 6 * 15, 2, 128), 15, 3, (-45, 0)),
        ((1, 5 * 7, 3, 24), 7, 2, (-45,)),
        ((3, 4 * 3, 1, 10), 3, 0, (7, -1023, 1023)),
        ((1, 6 * 130, 12, 128), 130, 3, (-45,)),
    ],
)
def test_against_float64(
    rng: np.random.Generator, shape: tuple[int, ...], tokens: int, sinks: int, rebase: tuple[int, ...]
) -> None:
    keys = normal(rng, *shape)
    result = check_op(
        "rebase_keys", inputs(shape[-1], *rebase), {}, {"k_cache": keys}, frame_tokens=tokens, sinks=sinks
    )
    still = [slot for slot, shift in enumerate(rebase) if shift == 0]
    assert_same_bits({"k": result["k_cache"][still]}, {"k": keys[still]}, "in slots that do not move")
    pinned = slice(0, sinks * tokens)
    assert_same_bits({"k": result["k_cache"][:, pinned]}, {"k": keys[:, pinned]}, "in the sinks")


def test_moved_keys_are_those_of_the_new_position(rng: np.random.Generator) -> None:
    """Written at position 49 and moved by -45, a frame's keys are those written at position 4."""
    heads, dim, height, width = 2, 128, 3, 5
    tokens = height * width
    shapes = {"qkv": (tokens, 3 * heads * dim), "norm_q": (heads * dim,), "norm_k": (heads * dim,)}
    values = {role: torch.from_numpy(normal(rng, *shape)).double() for role, shape in shapes.items()}

    def keys_at(position: int) -> np.ndarray:
        cache = torch.zeros(1, tokens, heads, dim, dtype=torch.float64)
        place = {"frame_position": torch.tensor([position]), "ring_write": torch.tensor([0])}
        grid = {"frames": 1, "height": height, "width": width, "frame_tokens": tokens}
        written = reference.qk_norm_rope_cache(
            **values, **place, k_cache=cache, v_cache=cache.clone(), **grid, eps=1e-6
        )
        return written["k_cache"].numpy().astype(np.float32)

    moved = run_op("rebase_keys", inputs(dim, -45), {}, {"k_cache": keys_at(49)}, frame_tokens=tokens, sinks=0)
    assert np.abs(moved["k_cache"] - keys_at(4)).max() < 2e-6  # a few float32 roundings of values up to about 4


@pytest.mark.parametrize(
    ("sinks", "rebase", "shifts"),
    [(3, (-45,), (5, 0, 44)), (2, (-45, 0, -7), (0, 0, 9, 40, 1023, 1)), (1, (0, -45), (30, 31))],
)
def test_replaced_sinks_go_back_to_their_own_positions(
    rng: np.random.Generator, sinks: int, rebase: tuple[int, ...], shifts: tuple[int, ...]
) -> None:
    """Sink j, at position j + shift, is turned by -shift; a slot whose positions go on keeps sinks and shifts."""
    keys, sink_shift = normal(rng, len(rebase), 5 * 7, 2, 24), i32(*shifts).reshape(-1, sinks)
    result = check_op("rebase_keys", inputs(24, *rebase), {}, {"k_cache": keys, "sink_shift": sink_shift},
                      frame_tokens=7, sinks=sinks)  # fmt: skip
    for slot, shift in enumerate(rebase):
        assert result["sink_shift"][slot].tolist() == ([0] * sinks if shift else sink_shift[slot].tolist())
        for sink in range(sinks):
            rows = slice(sink * 7, (sink + 1) * 7)
            still = np.array_equal(result["k_cache"][slot, rows], keys[slot, rows])
            assert still == (shift == 0 or sink_shift[slot, sink] == 0)


@pytest.mark.parametrize("shift", [-1, 1024])
def test_a_sink_shift_beyond_the_table(rng: np.random.Generator, shift: int) -> None:
    updates = {"k_cache": normal(rng, 1, 4, 1, 24), "sink_shift": i32(shift).reshape(1, 1)}
    with pytest.raises(PenstockError, match=rf"sink_shift\[0\] is {shift}"):
        run_op("rebase_keys", inputs(24, -45), {}, updates, frame_tokens=1, sinks=1)


def test_a_shift_beyond_the_table(rng: np.random.Generator) -> None:
    with pytest.raises(PenstockError, match="rebase"):
        run_op("rebase_keys", inputs(24, 1024), {}, {"k_cache": normal(rng, 1, 4, 1, 24)}, frame_tokens=1, sinks=0)
