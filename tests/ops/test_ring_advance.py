"""ring_advance against a ring that is played from its start, and against the published trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_cache as reference
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, assert_same_bits, check_op, i32, run_op

# frames per chunk, first frames, capacity, sinks
RINGS = [
    (1, 2, 6, 3),
    (1, 2, 5, 2),
    (1, 1, 1, 0),
    (1, 2, 6, 0),
    (1, 6, 6, 5),
    (3, 3, 21, 0),
    (3, 3, 21, 3),
    (2, 3, 9, 1),
]


def advance(chunk: int, phase: str, ring: tuple[int, ...], slots: int, layers: int, refresh: int = 50) -> Arrays:
    """Runs the op after ``chunk`` chunks and compares it with the reference."""
    frames, first_frames, capacity, sinks = ring
    attributes = {"frames": frames, "first_frames": first_frames, "capacity": capacity, "sinks": sinks,
                  "refresh": refresh}  # fmt: skip

    def expected(tensors: dict[str, torch.Tensor]) -> reference.Outputs:
        return reference.ring_advance(tensors["chunk"], phase, **attributes, slots=slots, layers=layers)

    chunks = {"chunk": np.array([chunk], np.int64)}
    return check_op("ring_advance", {}, empty_outputs(slots, layers), chunks, expected, atol=0.0, phase=phase,
                    **attributes)  # fmt: skip


def empty_outputs(slots: int, layers: int) -> Arrays:
    ring = np.empty((layers, slots), np.int32)
    by_slot = i32(*[0] * slots)
    return {"frame_position": by_slot, "rebase": by_slot, "row_chunk": np.empty(slots, np.int64), "ring_write": ring,
            "ring_length": ring}  # fmt: skip


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("slots", [1, 4])
def test_every_chunk_of_a_stream(ring: tuple[int, ...], slots: int) -> None:
    advance(17, "first", ring, slots, layers=2)
    for chunk in range(14):
        advance(chunk, "next", ring, slots, layers=2)


def test_the_published_trace() -> None:
    """Spec 9.1, T1: writes and lengths of two slots."""
    writes = [(2, 2), (3, 2), (4, 3), (5, 4), (3, 5), (4, 3), (5, 4), (3, 5)]
    lengths = [(3, 3), (4, 3), (5, 4), (6, 5), (6, 6), (6, 6), (6, 6), (6, 6)]
    states = [advance(chunk, "next", (1, 2, 6, 3), slots=2, layers=1) for chunk in range(8)]
    assert [tuple(state["ring_write"][0]) for state in states] == writes
    assert [tuple(state["ring_length"][0]) for state in states] == lengths


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("margin", [1, 3, 20])
def test_positions_start_again(ring: tuple[int, ...], margin: int) -> None:
    """Several refreshes, at distances that the chunks divide and that they do not."""
    for chunk in range(60):
        advance(chunk, "next", ring, slots=3, layers=1, refresh=ring[2] + margin)


def test_the_published_positions() -> None:
    """Spec 9.4: ... 48, 49, 5, 6, ..., 49, 5 with a cache of 6, and keys move back by 45 at each refresh."""
    states = [advance(chunk, "next", (1, 2, 6, 3), slots=1, layers=1) for chunk in range(140)]
    expected = [*range(2, 50), *range(5, 50), *range(5, 50), 5, 6]
    assert [int(state["frame_position"][0]) for state in states] == expected
    rebased = {chunk + 1: int(state["rebase"][0]) for chunk, state in enumerate(states) if state["rebase"][0]}
    assert rebased == {49: -45, 94: -45, 139: -45}


def test_a_stream_of_years() -> None:
    """The closed form far from the start, where the reference would play too long."""
    state = advance_only(chunk=48 + 45 * 10**7, refresh=50)
    assert (state["frame_position"][0], state["rebase"][0], state["row_chunk"][0]) == (5, -45, 49 + 45 * 10**7)


def advance_only(chunk: int, refresh: int) -> Arrays:
    return run_op("ring_advance", {}, empty_outputs(1, 1), {"chunk": np.array([chunk], np.int64)}, phase="next",
                  frames=1, first_frames=2, capacity=6, sinks=3, refresh=refresh)  # fmt: skip


def test_places_that_another_op_decides() -> None:
    """Without ring_write and ring_length the rest stays what it is."""
    ring = {"frames": 1, "first_frames": 2, "capacity": 6, "sinks": 3, "refresh": 50}
    chunk, outputs = {"chunk": np.array([6], np.int64)}, empty_outputs(2, 3)
    whole = run_op("ring_advance", {}, outputs, chunk, phase="next", **ring)
    positions = {role: outputs[role] for role in ("frame_position", "row_chunk", "rebase")}
    part = run_op("ring_advance", {}, positions, chunk, phase="next", **ring)
    assert_same_bits(part, {role: whole[role] for role in part}, "without the places")


@pytest.mark.parametrize("chunk", [-1, 2**32, 2**62])
def test_a_chunk_counter_out_of_range(chunk: int) -> None:
    with pytest.raises(PenstockError, match="chunk is"):
        advance_only(chunk, refresh=50)


def test_a_refresh_inside_the_cache() -> None:
    with pytest.raises(PenstockError, match="refresh"):
        advance_only(chunk=0, refresh=6)
