"""Where real plans put their chunks: the published traces under the published policy, the intended ones otherwise.

The keys are all zero and the values nearly constant: the similarity of any two frames is about 0.5, above the default
threshold, so that no sink is refreshed but, under the published policy, the empty ones (spec 9.1).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from penstock.runtime.config import Config
from penstock.runtime.engine import Session
from penstock.runtime.model import DitSpec
from tests.helpers import normal
from tests.models.random_dit import RandomDit, prompt
from tests.ops.published_traces import TRACES, Trace

SPEC = DitSpec(dim=24, ffn_dim=8, heads=2, layers=2, text_len=4, text_dim=4, freq_dim=4)
INTENDED = [2, 3, 4, 5, 3, 4, 5, 3, 4, 5, 3]


def similar_frames(rng: np.random.Generator, config: Config) -> Session:
    dit = RandomDit.draw(SPEC, rng)
    for layer in range(SPEC.layers):
        dit.weights[f"blocks.{layer}.self_attn.norm_k.weight"].zero_()
        dit.weights[f"blocks.{layer}.self_attn.v.bias"].fill_(20)
    session = dit.engine(config).session()
    for layer in range(SPEC.layers):
        for name in (f"blocks.{layer}.k_cache", f"blocks.{layer}.v_cache"):
            session.write(name, np.full(session.engine.tensor_info(name).shape, np.nan))
    session.set_prompt(prompt(SPEC, 2, rng))
    return session


def calls(rng: np.random.Generator, session: Session, count: int) -> Iterator[Session]:
    """A stream's calls after its first chunk."""
    for call in range(count + 1):
        suffix = "" if call else "_first"
        shape = session.engine.tensor_info(f"latents{suffix}").shape
        session.write(f"latents{suffix}", normal(rng, *shape))
        session.run(f"denoise{suffix}")
        if call:
            yield session


def layers_alike(session: Session, field: str) -> np.ndarray:
    values = session.read(field)
    assert (values == values[:1]).all(), f"{field}: layers differ"
    return values[0]


def config_of(trace: Trace) -> Config:
    """passes over one cache slot are sequential steps with a shared history."""
    timesteps = (1000, 750, 500, 250) if trace.frames > 1 else None
    return Config(
        height=16, width=32, steps=max(trace.slots, trace.passes), timesteps=timesteps,
        mode="sequential" if trace.passes > 1 else "stream_batch", chunk_latents=trace.frames,
        first_latents=trace.first_frames, cache_frames=trace.capacity, sink_frames=trace.sinks,
        cache_policy="streamdiffusionv2", sink_threshold=trace.threshold,
    )  # fmt: skip


def check_trace(rng: np.random.Generator, session: Session, trace: Trace) -> None:
    """After a sequential chunk, ring_write is that of its last pass."""
    for call, state in enumerate(calls(rng, session, len(trace.writes))):
        expected = trace.writes[call] if trace.passes == 1 else trace.writes[call][-1:]
        assert tuple(layers_alike(state, "ring_write").tolist()) == expected, f"call {call + 1}"
        queue, size = layers_alike(state, "queue")[0], layers_alike(state, "queue_size")[0]
        if call < len(trace.queues):
            assert tuple(queue[:size].tolist()) == trace.queues[call], f"call {call + 1}"
        if call < len(trace.lengths):
            assert tuple(layers_alike(state, "ring_length").tolist()) == trace.lengths[call], f"call {call + 1}"


@pytest.mark.parametrize("name", TRACES)
def test_published_traces(rng: np.random.Generator, name: str) -> None:
    """Two streams, one after the other: the first chunk starts anew."""
    session = similar_frames(rng, config_of(TRACES[name]))
    check_trace(rng, session, TRACES[name])
    check_trace(rng, session, TRACES[name])


def test_published_steps_with_caches_of_their_own(rng: np.random.Generator) -> None:
    """With a cache slot for every step the quirk of the one slot does not arise: T1 without the lag."""
    config = Config(height=16, width=32, steps=3, mode="sequential", history="per_step", sink_threshold=-1.0,
                    cache_policy="streamdiffusionv2")  # fmt: skip
    session = similar_frames(rng, config)
    writes = [layers_alike(state, "ring_write").tolist() for state in calls(rng, session, len(INTENDED))]
    assert writes == [[frame] * 3 for frame in INTENDED]


@pytest.mark.parametrize("threshold", [0.2, -1.0])
@pytest.mark.parametrize("history", ["shared", "per_step"])
@pytest.mark.parametrize("steps", [1, 3])
def test_intended_places_of_sequential_steps(
    rng: np.random.Generator, threshold: float, history: str, steps: int
) -> None:
    config = Config(height=16, width=32, steps=steps, mode="sequential", history=history, sink_threshold=threshold)
    session = similar_frames(rng, config)
    for _ in range(2):
        written = [set(layers_alike(state, "ring_write").tolist()) for state in calls(rng, session, len(INTENDED))]
        assert written == [{frame} for frame in INTENDED]


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_intended_places_of_a_stream_batch(rng: np.random.Generator, slots: int) -> None:
    session = similar_frames(rng, Config(height=16, width=32, steps=slots))
    for _ in range(2):
        writes = [layers_alike(state, "ring_write").tolist() for state in calls(rng, session, len(INTENDED))]
        assert writes == [[INTENDED[max(call - slot, 0)] for slot in range(slots)] for call in range(len(INTENDED))]


def test_the_first_chunk_of_another_stream_forgets_replaced_sinks(rng: np.random.Generator) -> None:
    session = similar_frames(rng, Config(height=16, width=32, sink_threshold=1.0))
    written = [state.read("ring_write") for state in calls(rng, session, 8)]
    assert (written[-1] < 3).all() and session.read("sink_shift").any()
    assert next(calls(rng, session, 1)).read("ring_write").tolist() == [[2, 2]] * SPEC.layers
    assert not session.read("sink_shift").any()
