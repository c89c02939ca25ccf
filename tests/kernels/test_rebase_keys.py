"""The rebase_keys kernels against float64 rotations; what does not move keeps its bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_cache
from penstock.kernels.rebase_keys import rebase_keys
from penstock.runtime.rope import rope_table
from tests.helpers import i32, normal
from tests.kernels.check import check_kernel, every_dtype


@every_dtype
@pytest.mark.parametrize(
    ("shape", "tokens", "sinks", "rebase"),
    [
        ((2, 4 * 15, 3, 16), 15, 2, (-45, 0)),  # 45 rows in a frame: more than a block, and ragged
        ((3, 4 * 3, 1, 128), 3, 0, (7, -1023, 1023)),
    ],
)
def test_rolling_keys(rng: np.random.Generator, dtype: torch.dtype, shape: tuple[int, ...], tokens: int, sinks: int,
                      rebase: tuple[int, ...]) -> None:  # fmt: skip
    inputs = {"rope": rope_table(shape[-1]), "rebase": i32(*rebase)}
    keys = normal(rng, *shape)
    actual = check_kernel(
        rebase_keys, dtype, inputs, {}, {"k_cache": keys}, atol=1e-6, frame_tokens=tokens, sinks=sinks
    )
    before = torch.from_numpy(keys).to(dtype).float().numpy()
    assert np.array_equal(actual["k_cache"][:, : sinks * tokens], before[:, : sinks * tokens])
    still = [slot for slot, shift in enumerate(rebase) if shift == 0]
    assert np.array_equal(actual["k_cache"][still], before[still])


@every_dtype
@pytest.mark.parametrize(
    ("sinks", "rebase", "shifts"),
    [(3, (-45,), (5, 0, 44)), (2, (-45, 0, -7), (0, 0, 9, 40, 1023, 1)), (35, (-45,), tuple(range(35)))],
)
def test_replaced_sinks(rng: np.random.Generator, dtype: torch.dtype, sinks: int, rebase: tuple[int, ...],
                        shifts: tuple[int, ...]) -> None:  # fmt: skip
    updates = {
        "k_cache": normal(rng, len(rebase), (sinks + 1) * 2, 1, 32),
        "sink_shift": i32(*shifts).reshape(-1, sinks),
    }
    inputs = {"rope": rope_table(32), "rebase": i32(*rebase)}
    actual = check_kernel(rebase_keys, dtype, inputs, {}, updates, atol=1e-6, frame_tokens=2, sinks=sinks)
    for slot, shift in enumerate(rebase):
        kept = updates["sink_shift"][slot]
        assert actual["sink_shift"][slot].tolist() == (np.zeros_like(kept) if shift else kept).tolist()


@pytest.mark.parametrize(("rebase", "nearest"), [(-(2**31), -1023), (1024, 1023), (2**31 - 1, 1023)])
def test_a_shift_beyond_the_table_stays_inside(rng: np.random.Generator, rebase: int, nearest: int) -> None:
    def expected(tensors: dict[str, torch.Tensor]) -> reference_cache.Outputs:
        moved = {**tensors, "rebase": torch.tensor([nearest])}
        return reference_cache.rebase_keys(**moved, frame_tokens=2, sinks=0)

    inputs, keys = {"rope": rope_table(32), "rebase": i32(rebase)}, normal(rng, 1, 4, 1, 32)
    check_kernel(rebase_keys, torch.float32, inputs, {}, {"k_cache": keys}, expected, 1e-6, frame_tokens=2, sinks=0)
