"""ring_queue against the published algorithm played in Python, and against the published traces (spec 2.5.2, 9.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from penstock.kernels.reference_cache import PublishedRing, similarities
from penstock.runtime.errors import PenstockError
from tests.helpers import Arrays, assert_same_bits, i32, in_bf16, run_op
from tests.ops.cache_data import draw, fill_frame
from tests.ops.published_traces import TRACES, Trace

TOKENS, HEADS, DIM = 5, 3, 10
STATE = ("global_end", "local_end", "current_step", "queue_size")


def places(slots: int) -> Arrays:
    return {"ring_write": i32(*[0] * slots), "ring_length": i32(*[0] * slots)}


def poisoned_state(slots: int, queue: int) -> Arrays:
    """State that phase ``first`` must not look at."""
    fields = {name: np.full(slots, -(2**31), np.int32) for name in STATE}
    return {**fields, "queue": np.full((slots, queue), -(2**31), np.int32)}


@dataclass
class Stream:
    """The op's state and caches over the calls of a stream, beside the reference's; NaN where nothing was written.

    alike: cosine of a new frame with every sink that is filled, drawn for every call.
    """

    rng: np.random.Generator
    ring: Trace
    queue: int = 32
    alike: tuple[float, float] = (0.5, 0.9)
    state: Arrays = field(init=False)
    caches: Arrays = field(init=False)
    rings: list[PublishedRing] = field(init=False)

    def __post_init__(self) -> None:
        ring, slots = self.ring, self.ring.slots
        self.state = self.run("first", {}, poisoned_state(slots, self.queue))
        self.caches = draw(self.rng, slots, ring.capacity, TOKENS, HEADS, DIM)
        self.rings = [PublishedRing(ring.first_frames, ring.capacity, ring.sinks, ring.passes, ring.threshold)
                      for _ in range(slots)]  # fmt: skip
        self.compare()

    @property
    def adaptive(self) -> bool:
        return self.ring.threshold > -1

    def run(self, phase: str, inputs: Arrays, state: Arrays) -> Arrays:
        ring, updates = self.ring, {name: state[name] for name in (*STATE, "queue")}
        one, two = (run_op("ring_queue", inputs, places(ring.slots), updates, threads, phase=phase, frames=ring.frames,
                           first_frames=ring.first_frames, capacity=ring.capacity, sinks=ring.sinks,
                           passes=ring.passes, threshold=ring.threshold) for threads in (1, 2))  # fmt: skip
        assert_same_bits(two, one, "for 1 and 2 threads")
        return one

    def cosines(self) -> np.ndarray:
        """Cosines that float32 tells apart from each other, from the threshold and from the 0 of an empty sink."""
        cosines = np.linspace(*self.alike, 50)
        return cosines[(abs(cosines - self.ring.threshold) > 1e-3) & (abs(cosines) > 1e-3)]

    def filled(self, slot: int) -> int:
        return min(self.rings[slot].local_end, self.ring.sinks)

    def call(self, positions: list[int]) -> None:
        data = {}
        if self.adaptive:
            data = draw(self.rng, self.ring.slots, self.ring.capacity, TOKENS, HEADS, DIM)
            for slot in range(self.ring.slots):
                for sink, cosine in enumerate(self.rng.choice(self.cosines(), self.filled(slot), replace=False)):
                    fill_frame(self.rng, data, slot, sink, cosine)
            data = {role: in_bf16(values) for role, values in data.items()}
        writes = [ring.place(positions[slot], self.ring.frames, self.similarities(data, slot))
                  for slot, ring in enumerate(self.rings)]  # fmt: skip
        self.state = self.run("next", {**data, "frame_position": i32(*positions)}, self.state)
        assert self.state["ring_write"].tolist() == writes
        self.compare()

    def similarities(self, data: Arrays, slot: int) -> list[float] | None:
        if not self.adaptive:
            return None
        tensors = [torch.from_numpy(data[role][slot]).double() for role in ("k", "v", "k_cache", "v_cache")]
        alike = similarities(*tensors, self.ring.sinks)
        alike[self.filled(slot) :] = 0  # an empty sink is all zeros
        return alike.tolist()

    def compare(self) -> None:
        for slot, ring in enumerate(self.rings):
            assert self.queue_of(slot) == ring.queue
            assert self.state["ring_length"][slot] == self.state["local_end"][slot] == ring.local_end
            assert self.state["global_end"][slot] == ring.global_end
            assert self.state["current_step"][slot] == ring.current_step

    def queue_of(self, slot: int) -> list[int]:
        return self.state["queue"][slot, : self.state["queue_size"][slot]].tolist()


def check_trace(stream: Stream) -> None:
    """No genuine refresh: the new frame is like every sink that holds something."""
    trace = stream.ring
    for call, expected in enumerate(trace.writes):
        writes = []
        for _ in range(trace.passes):
            chunks = [max(call - slot, 0) for slot in range(trace.slots)]
            stream.call([trace.first_frames + trace.frames * chunk for chunk in chunks])
            writes += stream.state["ring_write"].tolist()
        assert tuple(writes) == expected, f"call {call + 1}"
        if call < len(trace.queues):
            assert tuple(stream.queue_of(0)) == trace.queues[call], f"call {call + 1}"
        if call < len(trace.lengths):
            assert tuple(stream.state["ring_length"].tolist()) == trace.lengths[call], f"call {call + 1}"


def check_refreshes(stream: Stream, end: int) -> None:
    """Up to a position, and again behind a refresh of the positions."""
    ring = stream.ring
    positions = [*range(ring.first_frames, end), *range(ring.capacity - 1, end)]
    for call in range(len(positions)):
        for _ in range(ring.passes):
            stream.call([positions[max(call - slot, 0)] for slot in range(ring.slots)])


@pytest.mark.parametrize("name", TRACES)
def test_published_traces(rng: np.random.Generator, name: str) -> None:
    check_trace(Stream(rng, TRACES[name]))


@pytest.mark.parametrize(
    "ring",
    [
        Trace([], slots=3, threshold=0.2),
        Trace([], slots=2, threshold=-0.3, capacity=5, sinks=2),
        Trace([], slots=1, threshold=0.6, capacity=9, sinks=5, first_frames=3),
        Trace([], passes=3, threshold=0.1),
        Trace([], slots=2, threshold=0.2, sinks=1, first_frames=1),
    ],
)
def test_genuine_refreshes(rng: np.random.Generator, ring: Trace) -> None:
    """Sinks above and below the threshold as it comes, over a refresh of the positions, to the published state."""
    check_refreshes(Stream(rng, ring, queue=64, alike=(ring.threshold - 0.2, min(ring.threshold + 0.6, 0.99))), 14)


class StreamOfShortQueue(Stream):
    """Its queue forgets what the reference's, which grows without end, still holds."""

    def compare(self) -> None:
        pass


def test_a_queue_that_would_grow_without_end(rng: np.random.Generator) -> None:
    """Two passes, each with a refresh: the newest sinks stay ahead, the rolling frames behind, the rest is dropped."""
    stream = StreamOfShortQueue(rng, Trace([], passes=2, threshold=0.9), queue=8, alike=(-0.5, 0.5))
    for position in range(2, 30):
        for _ in range(2):
            stream.call([position])
    endless = stream.rings[0].queue
    assert len(endless) > 20
    assert stream.queue_of(0) == endless[:5] + endless[-3:]


def host_state(**fields: int) -> Arrays:
    state = {"global_end": 9, "local_end": 6, "current_step": 1, "queue_size": 3, **fields}
    queue = np.array([[state.pop("front", 4), 5, 6, 0]], np.int32)
    return {**{name: i32(value) for name, value in state.items()}, "queue": queue}


def place_one(position: int = 9, frames: int = 1, **fields: int) -> Arrays:
    return run_op("ring_queue", {"frame_position": i32(position)}, places(1), host_state(**fields), phase="next",
                  frames=frames, first_frames=2, capacity=6, sinks=3, passes=1, threshold=-1.0)  # fmt: skip


def test_state_in_range_is_no_error() -> None:
    assert place_one()["ring_write"].tolist() == [3]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"queue_size": 5}, r"queue_size\[0\] is 5"),
        ({"queue_size": -1}, r"queue_size\[0\] is -1"),
        ({"queue_size": 0}, "queue is empty"),
        ({"local_end": 7}, r"local_end\[0\] is 7"),
        ({"local_end": -1}, r"local_end\[0\] is -1"),
        ({"current_step": 2}, r"current_step\[0\] is 2"),
        ({"current_step": 0}, r"current_step\[0\] is 0"),
        ({"front": 7}, r"queue\[0\] is 7"),
        ({"front": 0}, r"queue\[0\] is 0"),
        ({"front": 2, "frames": 3}, r"queue\[0\] is 2"),
        ({"position": -1}, r"frame_position\[0\] is -1"),
        ({"position": 2, "local_end": 3, "global_end": -5}, r"global_end\[0\] is -5"),
        ({"position": 2, "local_end": 3, "global_end": 2**31 - 1}, r"global_end\[0\] is 2147483647"),
        ({"position": 2, "local_end": 3, "global_end": 9}, "the chunk would end at cache frame -3"),
        ({"position": 4, "local_end": 5, "global_end": 2}, "the chunk would end at cache frame 8"),
        ({"position": 3, "local_end": 3, "global_end": 3, "queue_size": 4}, "queue is full"),
    ],
)
def test_state_out_of_range_is_an_error(fields: dict[str, int], message: str) -> None:
    with pytest.raises(PenstockError, match=message):
        place_one(**fields)


def test_a_full_queue_without_sinks_has_no_room(rng: np.random.Generator) -> None:
    data = draw(rng, 1, 6, TOKENS, HEADS, DIM)
    for sink in range(3):
        fill_frame(rng, data, 0, sink, -0.5)
    with pytest.raises(PenstockError, match="no room for a sink"):
        run_op("ring_queue", {**data, "frame_position": i32(9)}, places(1), host_state(queue_size=4, front=5) |
               {"queue": i32(4, 5, 6, 4).reshape(1, 4)}, phase="next", frames=1, first_frames=2, capacity=6, sinks=3,
               passes=1, threshold=0.2)  # fmt: skip


@pytest.mark.parametrize("role", ["k", "v", "k_cache", "v_cache"])
def test_nan_refreshes_no_sink(rng: np.random.Generator, role: str) -> None:
    data = draw(rng, 1, 6, TOKENS, HEADS, DIM)
    for sink, cosine in enumerate((-0.5, 0.5, 0.5)):
        fill_frame(rng, data, 0, sink, cosine)
    data[role][0, 1] = np.nan  # of a cache, in sink 0
    result = run_op("ring_queue", {**data, "frame_position": i32(9)}, places(1), host_state(), phase="next", frames=1,
                    first_frames=2, capacity=6, sinks=3, passes=1, threshold=0.2)  # fmt: skip
    assert result["ring_write"].tolist() == [3]


def test_parts_of_the_data_are_not_enough(rng: np.random.Generator) -> None:
    data = draw(rng, 1, 6, TOKENS, HEADS, DIM)
    del data["v"]
    with pytest.raises(PenstockError, match="k and v come together"):
        run_op("ring_queue", {**data, "frame_position": i32(9)}, places(1), host_state(), phase="next", frames=1,
               first_frames=2, capacity=6, sinks=3, passes=1, threshold=0.2)  # fmt: skip
