"""sink_refresh against float64 similarities: which frame gives way, and what bad state and bad data do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_cache as reference
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, check_op, i32, run_op
from tests.ops.cache_data import draw, fill_frame

RING = {"first_frames": 2, "capacity": 6, "sinks": 3, "threshold": 0.2}


def state(slots: int, sinks: int = 3) -> Arrays:
    return {"ring_next": np.zeros(slots, np.int32), "sink_shift": np.zeros((slots, sinks), np.int32)}


def places(slots: int) -> Arrays:
    return {"ring_write": i32(*[0] * slots), "ring_length": i32(*[0] * slots)}


def slot_state(chunks: list[int], positions: list[int]) -> Arrays:
    return {"row_chunk": np.array(chunks, np.int64), "frame_position": i32(*positions)}


def check(inputs: Arrays, updates: Arrays, **ring: float) -> Arrays:
    attributes = {**RING, **ring}

    def expected(tensors: dict[str, torch.Tensor]) -> reference.Outputs:
        return reference.sink_refresh(**tensors, **attributes)

    slots = len(inputs["row_chunk"])
    return check_op("sink_refresh", inputs, places(slots), updates, expected, atol=0.0, phase="next", **attributes)


def run(inputs: Arrays, updates: Arrays) -> Arrays:
    return run_op("sink_refresh", inputs, places(len(updates["ring_next"])), updates, phase="next", **RING)


@pytest.mark.parametrize(
    ("tokens", "heads", "dim", "ring"),
    [
        (1, 1, 2, {"capacity": 2, "sinks": 1, "first_frames": 1}),
        (15, 2, 24, {}),
        (7, 3, 10, {"capacity": 5, "sinks": 2}),
        (131, 3, 128, {"capacity": 9, "sinks": 4, "threshold": -0.5}),
        (3, 2, 130, {"capacity": 6, "sinks": 5, "threshold": 0.9}),
    ],
)
@pytest.mark.parametrize("slots", [1, 4])
def test_full_caches(
    rng: np.random.Generator, tokens: int, heads: int, dim: int, ring: dict[str, float], slots: int
) -> None:
    """In odd slots at least one sink is below the threshold; the rolling frames are NaN."""
    capacity, sinks, threshold = ({**RING, **ring}[name] for name in ("capacity", "sinks", "threshold"))
    for _ in range(3):
        data = draw(rng, slots, capacity, tokens, heads, dim)
        for slot in range(slots):
            below = rng.permutation(sinks) < (rng.integers(1, sinks + 1) if slot % 2 else 0)
            for sink in range(sinks):
                margin = rng.uniform(0.02, min(1 - threshold, 0.4))
                fill_frame(rng, data, slot, sink, threshold - margin if below[sink] else threshold + margin)
        updates = state(slots, sinks)
        updates["ring_next"][:] = rng.integers(0, capacity - sinks, slots)
        updates["sink_shift"][:] = rng.integers(0, 40, (slots, sinks))
        chunks = slot_state([int(chunk) for chunk in rng.integers(capacity, 2**32, slots)],
                            [int(place) for place in rng.integers(capacity - 1, 1000, slots)])  # fmt: skip
        result = check({**data, **chunks}, updates, **ring)
        assert (result["ring_write"] < sinks).tolist() == [bool(slot % 2) for slot in range(slots)]


def test_a_cache_that_fills_reads_nothing_of_it(rng: np.random.Generator) -> None:
    """Chunks 1 to 4 go behind the first chunk's two frames; the fifth finds the cache full."""
    data = draw(rng, 5, 6, 4, 1, 10)
    for sink in range(3):
        fill_frame(rng, data, 4, sink, 0.5)
    result = check({**data, **slot_state([1, 2, 3, 4, 5], [2, 3, 4, 5, 6])}, state(5))
    assert result["ring_write"].tolist() == [2, 3, 4, 5, 3]
    assert result["ring_length"].tolist() == [3, 4, 5, 6, 6]
    assert result["ring_next"].tolist() == [0, 0, 0, 0, 1]


def test_the_first_chunk_begins_a_stream(rng: np.random.Generator) -> None:
    old = {"ring_next": i32(2, 1), "sink_shift": np.full((2, 3), 7, np.int32)}
    result = run_op("sink_refresh", {}, places(2), old, phase="first", **RING)
    assert not result["ring_next"].any() and not result["sink_shift"].any() and not result["ring_write"].any()
    assert result["ring_length"].tolist() == [2, 2]


@pytest.mark.parametrize("role", ["k", "v", "k_cache", "v_cache"])
def test_nan_refreshes_no_sink(rng: np.random.Generator, role: str) -> None:
    """NaN is not below a threshold: not in the new frame, and not in a sink beside others that are."""
    data = draw(rng, 1, 6, 4, 1, 10)
    for sink, cosine in enumerate((-0.5, 0.1, 0.5)):
        fill_frame(rng, data, 0, sink, cosine)
    data[role][0, 1] = np.nan  # of a cache, in sink 0
    result = run({**data, **slot_state([9], [10])}, state(1))
    assert result["ring_write"].tolist() == ([1] if role.endswith("cache") else [3])


def test_sinks_of_zeros_have_no_direction(rng: np.random.Generator) -> None:
    data = draw(rng, 1, 6, 4, 1, 10)
    for sink in range(3):
        fill_frame(rng, data, 0, sink, 0.5)
    for role in ("k_cache", "v_cache"):
        data[role][0, 4:8] = 0
    assert check({**data, **slot_state([9], [10])}, state(1))["ring_write"].tolist() == [1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("row_chunk", 0), ("row_chunk", -1), ("row_chunk", 2**62), ("ring_next", 3), ("ring_next", -1),
     ("frame_position", -1), ("frame_position", 2**31 - 1)],
)  # fmt: skip
def test_state_out_of_range_is_an_error(rng: np.random.Generator, field: str, value: int) -> None:
    data = {**draw(rng, 1, 6, 4, 1, 10), **slot_state([9], [10])}
    updates = state(1)
    (updates if field in updates else data)[field][0] = value
    with pytest.raises(PenstockError, match=rf"sink_refresh: {field}\[0\] is {value}"):
        run(data, updates)


def test_the_data_of_a_chunk_is_needed(rng: np.random.Generator) -> None:
    with pytest.raises(PenstockError, match="needs the role frame_position"):
        run({**draw(rng, 1, 6, 4, 1, 10), "row_chunk": np.array([9], np.int64)}, state(1))


@pytest.mark.parametrize(("ring", "message"), [({"first_frames": 6}, "first chunk"), ({"capacity": 3}, "fewer sinks")])
def test_rings_that_cannot_be(ring: dict[str, float], message: str) -> None:
    with pytest.raises(PenstockError, match=message):
        run_op("sink_refresh", {}, places(1), state(1), phase="first", **{**RING, **ring})
