"""ring_advance against a ring that is played from its start, and against the published trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, check_op, i32, run_op

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


def advance(chunk: int, phase: str, ring: tuple[int, ...], slots: int, layers: int, positions: int = 1024) -> Arrays:
    """Runs the op after ``chunk`` chunks and compares it with the reference."""
    frames, first_frames, capacity, sinks = ring
    attributes = {"frames": frames, "first_frames": first_frames, "capacity": capacity, "sinks": sinks}

    def expected(tensors: dict[str, torch.Tensor]) -> reference.Outputs:
        return reference.ring_advance(tensors["chunk"], phase, **attributes, slots=slots, layers=layers)

    chunks = {"chunk": np.array([chunk], np.int64)}
    return check_op("ring_advance", {}, empty_outputs(slots, layers), chunks, expected, atol=0.0, phase=phase,
                    positions=positions, **attributes)  # fmt: skip


def empty_outputs(slots: int, layers: int) -> Arrays:
    ring = np.empty((layers, slots), np.int32)
    return {"frame_position": i32(*[0] * slots), "row_chunk": np.empty(slots, np.int64), "ring_write": ring,
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


def test_the_end_of_the_rotary_table_is_an_error() -> None:
    advance(8, "next", (1, 2, 6, 3), slots=2, layers=1, positions=11)
    with pytest.raises(PenstockError, match="positions"):
        run_op("ring_advance", {}, empty_outputs(2, 1), {"chunk": np.array([9], np.int64)}, phase="next", frames=1,
               first_frames=2, capacity=6, sinks=3, positions=11)  # fmt: skip
