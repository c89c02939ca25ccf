"""Streams that go on with another configuration of the model, against a float64 computation of the whole clip.

The reference keeps raw keys for ever. At a switch every history becomes the one that the last step of the chunks before
had, or step by step the same where there was one for each of as many steps and no stream batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from penstock.models import Model
from penstock.runtime.build import create_engine
from penstock.runtime.config import Config
from penstock.runtime.errors import PenstockError
from penstock.session import Session
from tests.helpers import relative_l2
from tests.models.block_causal import ClipDenoiser
from tests.stream.conftest import SIZE, random_clip
from tests.stream.test_session import open_session, run
from tests.stream.test_whole_stream import PROMPT, PublishedPipeline

Switches = dict[int, dict[str, Any]]  # chunk that is the first of a configuration -> fields that change

STREAMS: dict[str, tuple[dict[str, Any], Switches]] = {
    "steps_then_batch": (
        {"mode": "sequential", "steps": 2},
        {3: {"steps": 4}, 6: {"mode": "stream_batch", "steps": 2}, 8: {"mode": "sequential", "steps": 1}},
    ),
    "batches_across_refreshes": (
        {"mode": "stream_batch", "steps": 3, "refresh_frames": 8, "noise_controller": False},
        {3: {"steps": 2}, 6: {"steps": 4}, 7: {"steps": 3, "timesteps": (800, 500, 200)}},
    ),
    "while_the_batch_fills": (
        {"mode": "sequential", "steps": 1},
        {1: {"mode": "stream_batch", "steps": 4}, 2: {"steps": 3}, 5: {"mode": "sequential", "history": "per_step"},
         8: {"mode": "stream_batch"}},
    ),
    "long_chunks": (
        {"mode": "sequential", "steps": 2, "chunk_latents": 2, "first_latents": 2, "cache_frames": 4, "sink_frames": 2},
        {1: {"mode": "stream_batch"}, 3: {"mode": "sequential", "steps": 1, "clean_context": True}},
    ),
}  # fmt: skip


class SwitchingDenoiser(ClipDenoiser):
    """A clip denoiser whose passes and histories change between chunks."""

    def __init__(self, denoiser: ClipDenoiser, switches: Switches):
        super().__init__(denoiser.dit, denoiser.seed)
        self.switches = switches

    def denoise(self, chunk: int, *arguments: Any) -> list[torch.Tensor]:
        if chunk in self.switches:
            old, self.config = self.config, replace(self.config, **self.switches[chunk])
            self.change_histories(old, self.config)
        return super().denoise(chunk, *arguments)

    def change_histories(self, old: Config, new: Config) -> None:
        by_step = old.mode == "sequential" and old.cache_slots == new.cache_slots
        frames = self.dit.frames
        for layer in range(self.dit.spec.layers):
            kept = [dict(frames[step, layer]) for step in range(old.cache_slots)]
            for step in range(new.cache_slots):
                frames[step, layer] = dict(kept[step if by_step else -1])


def run_switched(session: Session, clip: np.ndarray, switches: Switches) -> tuple[np.ndarray, list[int]]:
    """All frames out, and how many a switch returned; frames go in one by one, so that switches meet half chunks."""
    first = 4 * session.config.first_latents - 3
    starts = {first + 4 * session.config.chunk_latents * (chunk - 1): chunk for chunk in switches}
    frames, returned = [], []
    for index, frame in enumerate(clip):
        if index in starts:
            frames.append(session.switch(**switches[starts[index]]))
            returned.append(len(frames[-1]))
        frames.append(session.push(frame))
    return np.concatenate([*frames, session.flush()]), returned


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The tensors of the reference are tiny: more threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", STREAMS)
def test_the_picture_goes_on(model: Model, rng: np.random.Generator, name: str) -> None:
    fields, switches = STREAMS[name]
    config = Config(height=SIZE[0], width=SIZE[1], sink_threshold=-1.0, **fields)
    chunks, seed = max(switches) + 3, int(rng.integers(2**63))
    frames = 4 * (config.first_latents + (chunks - 1) * config.chunk_latents) - 3
    clip = random_clip(rng, frames)
    prompt = model.embed(PROMPT)
    with model.session(prompt, config=config, seed=seed, device="cpu", threads=2) as session:
        video, returned = run_switched(session, clip, switches)
        stats = session.stats()
    pipeline = PublishedPipeline(model, config, prompt.embeddings, seed)
    pipeline.denoiser = SwitchingDenoiser(pipeline.denoiser, switches)
    _, expected = pipeline.run(clip)
    assert video.shape == clip.shape and stats["frames_in"] == stats["frames_out"] == len(clip)
    difference = np.abs(video - (expected * 255).round().numpy())
    print(f"{name}: switches returned {returned} frames, {(difference > 0).mean():.1e} of the values differ")
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_a_switch_finishes_the_chunks_in_flight(model: Model, rng: np.random.Generator) -> None:
    """Every chunk's frames come out once, the later ones of a batch at the switch."""
    with open_session(model, mode="stream_batch", steps=4, configurations=[{"steps": 2}]) as session:
        clip = random_clip(rng, 5 + 4 * 6 + 2)
        assert len(session.push(clip[:-4])) == 5 + 4 * 2  # six chunks, three of them in flight, one begun
        assert len(session.switch(steps=2)) == 4 * 3
        assert len(session.push(clip[-4:])) == 0
        assert len(session.switch(steps=4)) == 4  # with its half chunk still waiting
        assert len(session.flush()) == 2


def switched_between(model: Model, clip: np.ndarray, at: int, first: dict, then: dict) -> np.ndarray:
    with open_session(model, seed=3, **first) as session:
        before = session.push(clip[:at])
        session.switch(**then)
        return np.concatenate([before, session.push(clip[at:]), session.flush()])


CACHES = {
    "adaptive": {"sink_threshold": 0.2},
    "every_chunk_a_sink": {"sink_threshold": 1.0, "refresh_frames": 9},
    "never": {"sink_threshold": -1.0, "refresh_frames": 9},
}


@pytest.mark.parametrize("name", CACHES)
def test_steps_with_a_history_each_go_on_in_a_stream_batch(model: Model, rng: np.random.Generator, name: str) -> None:
    """A stream batch is those steps at another time, so nothing may change; what its empty slots write is undone."""
    clip, at = random_clip(rng, 5 + 4 * 10), int(rng.choice([13, 25]))  # the cache fills, or is full
    fields = {"mode": "sequential", "history": "per_step", "steps": 3, **CACHES[name]}
    with open_session(model, seed=3, **fields) as session:
        expected = run(session, clip)
    actual = switched_between(model, clip, at, fields, {"mode": "stream_batch"})
    difference = np.abs(actual.astype(int) - expected.astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize(
    "fields", [*CACHES.values(), {"cache_policy": "streamdiffusionv2"}], ids=[*CACHES, "streamdiffusionv2"]
)
def test_an_equal_configuration_changes_nothing(model: Model, rng: np.random.Generator, fields: dict) -> None:
    """Another engine of the same configuration: the same bits as without a switch, in sequential mode."""
    clip = random_clip(rng, 5 + 4 * 9)
    with open_session(model, mode="sequential", steps=2, seed=3, **fields) as session:
        expected = run(session, clip)
        session.reset()
        outputs = []
        for start in range(0, len(clip), 6):
            core = session._drive("frames")
            core.switch(create_engine(model.directory, session.config, "cpu", 2, weights_from=core.engine))
            outputs.append(session.push(clip[start : start + 6]))
        np.testing.assert_array_equal(np.concatenate([*outputs, session.flush()]), expected)


def test_controls_and_frames_that_wait_go_over(model: Model, rng: np.random.Generator) -> None:
    """Prompt, seed, noise scale and a half chunk; before the first chunk a switch is as if the stream began there."""
    clip = random_clip(rng, 22)
    with open_session(model, mode="sequential", steps=1) as session:
        session.prompt, session.noise_scale, session.seed = "another prompt", 0.6, 9
        session.push(clip[:3])
        assert len(session.switch(steps=2, mode="stream_batch")) == 0
        actual = np.concatenate([session.push(clip[3:]), session.flush()])
        assert session.timesteps == (700, 500) and session.noise_scale == 0.6
    with open_session(model, "another prompt", mode="stream_batch", steps=2, seed=9) as session:
        session.noise_scale = 0.6
        np.testing.assert_array_equal(run(session, clip), actual)


REFUSED: dict[str, tuple[dict[str, Any], Callable[[Session], object], str]] = {
    "size": ({}, lambda s: s.switch(height=64), "cannot switch: height is 48 now and 64 there; it must be the same"),
    "cache": ({"sink_threshold": -1.0}, lambda s: s.switch(cache_frames=7), "cannot switch: cache_frames is 6 now and"),
    "sinks": ({}, lambda s: s.switch(sink_threshold=-1.0), "the two must keep their caches in one way"),
    "controller": ({}, lambda s: s.switch(noise_controller=False), "cannot switch: noise_controller is true now"),
    "published": ({"cache_policy": "streamdiffusionv2"}, lambda s: s.switch(steps=4), "steps is 2 now and 4 there"),
    "unknown": ({}, lambda s: s.switch(step=4), "switch: unknown settings: step"),
    "ended": ({}, lambda s: (s.flush(), s.switch(steps=4)), "switch after flush; reset the session"),
    "prepared": ({}, lambda s: s.prepare({"width": 80}), "cannot switch: width is 64 now and 80 there"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_switched_is_said_and_nothing_changes(model: Model, rng: np.random.Generator, name: str) -> None:
    fields, act, message = REFUSED[name]
    clip = random_clip(rng, 17)
    with open_session(model, **fields) as session:
        expected = run(session, clip)
        session.reset()
        before = session.push(clip[:11])
        with pytest.raises(PenstockError) as caught:
            act(session)
        assert message in str(caught.value) and "\n" not in str(caught.value)
        if name != "ended":
            np.testing.assert_array_equal(np.concatenate([before, session.push(clip[11:]), session.flush()]), expected)


def test_another_model_is_refused(model: Model) -> None:
    """Engines that share no weights could be of any model."""
    with open_session(model, steps=2) as session:
        alone = create_engine(model.directory, replace(session.config, steps=1), "cpu", 2)
        with pytest.raises(PenstockError, match="cannot switch: the engine is on another device"):
            session._drive("frames").switch(alone)


def test_reset_keeps_the_configuration(model: Model, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 17)
    with open_session(model, mode="sequential", steps=1) as session:
        session.push(clip)
        session.switch(steps=3)
        session.reset()
        actual = run(session, clip)
    with open_session(model, mode="sequential", steps=3) as session:
        expected = run(session, clip)
    np.testing.assert_array_equal(actual, expected)
    assert relative_l2(actual[5:], clip[5:]) > 1e-2
