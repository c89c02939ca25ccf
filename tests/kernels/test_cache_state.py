"""The kernels that move the rolling cache: ring_advance, sink_refresh and ring_queue, against their references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_cache as reference
from penstock.kernels.ring_advance import ring_advance
from penstock.kernels.ring_queue import ring_queue
from penstock.kernels.sink_refresh import sink_refresh
from tests.helpers import Arrays, i32
from tests.kernels.check import Tensors, every_dtype, poison, run_kernel, tensors_of
from tests.ops.cache_data import draw, fill_frame
from tests.ops.published_traces import TRACES, Trace
from tests.ops.test_ring_advance import RINGS
from tests.ops.test_ring_queue import STATE, Stream, StreamOfShortQueue, check_refreshes, check_trace, host_state

RING = {"first_frames": 2, "capacity": 6, "sinks": 3, "threshold": 0.2}


def places(slots: int) -> Tensors:
    """ring_write and ring_length, which a kernel has yet to write."""
    return {name: poison((slots,), torch.int32) for name in ("ring_write", "ring_length")}


def advance(chunk: int, phase: str, ring: tuple[int, ...], slots: int, layers: int, refresh: int = 50) -> Tensors:
    names = ("frames", "first_frames", "capacity", "sinks")
    attributes = dict(zip(names, ring, strict=True)) | {"refresh": refresh}
    state = {"chunk": torch.tensor([chunk]), "row_chunk": poison((slots,), torch.int64)}
    state |= {name: poison((slots,), torch.int32) for name in ("frame_position", "rebase")}
    if layers:
        state |= {name: poison((layers, slots), torch.int32) for name in ("ring_write", "ring_length")}
    return run_kernel(ring_advance, {}, state, phase=phase, **attributes)


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize(("slots", "refresh"), [(1, 50), (4, 22)])
def test_every_chunk_of_a_stream(ring: tuple[int, ...], slots: int, refresh: int) -> None:
    names = ("frames", "first_frames", "capacity", "sinks")
    for chunk in range(-1, 30, 5):
        phase = "first" if chunk < 0 else "next"
        state = advance(chunk, phase, ring, slots, 2, refresh)
        exact = reference.ring_advance(torch.tensor([chunk]), phase, **dict(zip(names, ring, strict=True)),
                                       refresh=refresh, slots=slots, layers=2)  # fmt: skip
        assert {role: values.tolist() for role, values in state.items()} == {
            role: values.tolist() for role, values in exact.items()
        }


def test_caches_that_place_chunks_themselves() -> None:
    state = advance(7, "next", RINGS[0], slots=3, layers=0)
    assert state["row_chunk"].tolist() == [8, 7, 6] and state["frame_position"].tolist() == [9, 8, 7]


@pytest.mark.parametrize("chunk", [-5, 2**32, 2**63 - 1])
def test_counters_out_of_range_give_places_in_range(chunk: int) -> None:
    state = advance(chunk, "next", RINGS[0], slots=2, layers=1)
    assert 1 <= state["chunk"].item() <= 2**32
    assert all(0 <= write < 6 for write in state["ring_write"][0].tolist())


def refresh(inputs: Arrays, updates: Arrays, dtype: torch.dtype = torch.float32, **ring: float) -> Tensors:
    """The state after phase next; equal to the reference's of the same data."""
    given, state = tensors_of(inputs, dtype), tensors_of(updates)
    exact = reference.sink_refresh(**{role: values.double() if values.is_floating_point() else values
                                      for role, values in (given | state).items()}, **ring)  # fmt: skip
    actual = run_kernel(sink_refresh, given, state | places(len(updates["ring_next"])), phase="next", **ring)
    assert {role: values.tolist() for role, values in actual.items()} == {
        role: values.tolist() for role, values in exact.items()
    }
    return actual


def sink_state(slots: int, sinks: int) -> Arrays:
    return {"ring_next": np.zeros(slots, np.int32), "sink_shift": np.zeros((slots, sinks), np.int32)}


@every_dtype
@pytest.mark.parametrize(
    ("tokens", "heads", "dim", "ring"),
    [(1, 1, 2, {"capacity": 2, "sinks": 1, "first_frames": 1}), (15, 2, 24, {}),
     (131, 2, 22, {"capacity": 7, "sinks": 4, "threshold": -0.5})],
)  # fmt: skip
def test_full_caches(
    rng: np.random.Generator, tokens: int, heads: int, dim: int, ring: dict[str, float], dtype: torch.dtype
) -> None:
    """In odd slots at least one sink is below the threshold; the rolling frames are NaN."""
    ring, slots = {**RING, **ring}, 2
    capacity, sinks, threshold = (ring[name] for name in ("capacity", "sinks", "threshold"))
    data = draw(rng, slots, capacity, tokens, heads, dim)
    for slot in range(slots):
        below = rng.permutation(sinks) < (rng.integers(1, sinks + 1) if slot % 2 else 0)
        for sink in range(sinks):
            margin = rng.uniform(0.05, min(1 - threshold, 0.4))
            fill_frame(rng, data, slot, sink, threshold - margin if below[sink] else threshold + margin)
    updates = sink_state(slots, sinks)
    updates["ring_next"][:] = rng.integers(0, capacity - sinks, slots)
    updates["sink_shift"][:] = rng.integers(0, 40, (slots, sinks))
    chunks = {"row_chunk": rng.integers(capacity, 2**32, slots), "frame_position": i32(*range(9, 9 + slots))}
    result = refresh({**data, **chunks}, updates, dtype, **ring)
    assert (result["ring_write"] < sinks).tolist() == [bool(slot % 2) for slot in range(slots)]


def test_a_cache_that_fills_reads_nothing_of_it(rng: np.random.Generator) -> None:
    data = draw(rng, 5, 6, 4, 1, 10)
    for sink in range(3):
        fill_frame(rng, data, 4, sink, 0.5)
    chunks = {"row_chunk": np.arange(1, 6), "frame_position": i32(*range(2, 7))}
    assert refresh({**data, **chunks}, sink_state(5, 3), **RING)["ring_write"].tolist() == [2, 3, 4, 5, 3]


@pytest.mark.parametrize("role", ["k", "v_cache"])
def test_nan_refreshes_no_sink(rng: np.random.Generator, role: str) -> None:
    data = draw(rng, 1, 6, 4, 1, 10)
    for sink, cosine in enumerate((-0.5, 0.1, 0.5)):
        fill_frame(rng, data, 0, sink, cosine)
    data[role][0, 1] = np.nan  # of a cache, in sink 0
    inputs = tensors_of({**data, "row_chunk": np.array([9]), "frame_position": i32(10)})
    actual = run_kernel(sink_refresh, inputs, tensors_of(sink_state(1, 3)) | places(1), phase="next", **RING)
    assert actual["ring_write"].item() == (1 if role.endswith("cache") else 3)


def test_sinks_of_zeros_have_no_direction(rng: np.random.Generator) -> None:
    data = draw(rng, 1, 6, 4, 1, 10)
    for sink in range(3):
        fill_frame(rng, data, 0, sink, 0.5)
    for role in ("k_cache", "v_cache"):
        data[role][0, 4:8] = 0
    state = {"row_chunk": np.array([9]), "frame_position": i32(10)}
    assert refresh({**data, **state}, sink_state(1, 3), **RING)["ring_write"].tolist() == [1]


def test_the_first_chunk_resets_the_sinks() -> None:
    state = {"ring_next": i32(2, 1), "sink_shift": np.full((2, 3), 7, np.int32)}
    actual = run_kernel(sink_refresh, {}, tensors_of(state) | places(2), phase="first", **RING)
    assert not any(actual[role].any() for role in ("ring_next", "sink_shift", "ring_write"))
    assert actual["ring_length"].tolist() == [2, 2]


class KernelStream(Stream):
    """The streams of the op's own test, on the kernels."""

    def run(self, phase: str, inputs: Arrays, state: Arrays) -> Arrays:
        ring, updates = self.ring, tensors_of({name: state[name] for name in (*STATE, "queue")})
        actual = run_kernel(ring_queue, tensors_of(inputs), updates | places(ring.slots), phase=phase,
                            frames=ring.frames, first_frames=ring.first_frames, capacity=ring.capacity,
                            sinks=ring.sinks, passes=ring.passes, threshold=ring.threshold)  # fmt: skip
        return {role: values.numpy() for role, values in actual.items()}


class KernelStreamOfShortQueue(KernelStream, StreamOfShortQueue):
    pass


@pytest.mark.parametrize("name", ["T1", "T4", "T5", "T6, 3 passes", "T8"])
def test_published_traces(rng: np.random.Generator, name: str) -> None:
    check_trace(KernelStream(rng, TRACES[name]))


@pytest.mark.parametrize("ring", [Trace([], slots=2, threshold=0.2), Trace([], passes=2, threshold=0.6, capacity=9,
                                                                           sinks=5, first_frames=3)])  # fmt: skip
def test_genuine_refreshes(rng: np.random.Generator, ring: Trace) -> None:
    check_refreshes(KernelStream(rng, ring, queue=64, alike=(ring.threshold - 0.2, ring.threshold + 0.3)), 9)


def test_a_queue_that_would_grow_without_end(rng: np.random.Generator) -> None:
    stream = KernelStreamOfShortQueue(rng, Trace([], passes=2, threshold=0.9), queue=8, alike=(-0.5, 0.5))
    for position in range(2, 11):
        for _ in range(2):
            stream.call([position])
    endless = stream.rings[0].queue
    assert len(endless) > 8
    assert stream.queue_of(0) == endless[:5] + endless[-3:]


@pytest.mark.parametrize(
    "fields",
    [{"queue_size": 5}, {"queue_size": -1}, {"queue_size": 0}, {"local_end": 7}, {"local_end": -1},
     {"current_step": 0}, {"front": 7}, {"front": 0}, {"position": -1},
     {"position": 2, "local_end": 3, "global_end": 2**31 - 1}, {"position": 4, "local_end": 5, "global_end": 2},
     {"position": 3, "local_end": 3, "global_end": 3, "queue_size": 4}],
)  # fmt: skip
def test_state_out_of_range_gives_places_in_range(fields: dict[str, int]) -> None:
    """And writes nothing beside the queue, which run_kernel checks."""
    inputs = tensors_of({"frame_position": i32(fields.get("position", 9))})
    updates = tensors_of(host_state(**{name: value for name, value in fields.items() if name != "position"}))
    state = run_kernel(ring_queue, inputs, updates | places(1), phase="next", frames=1, first_frames=2, capacity=6,
                       sinks=3, passes=1, threshold=-1.0)  # fmt: skip
    assert 0 <= state["ring_write"].item() < 6 and 1 <= state["ring_length"].item() <= 6
    assert 0 <= state["queue_size"].item() <= 4
