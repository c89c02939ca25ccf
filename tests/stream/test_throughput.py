"""The schedule throughput: the same frames as with latency, to the bit, two chunks later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penstock.models import Model
from penstock.runtime.config import Config
from penstock.runtime.errors import PenstockError
from tests.stream.conftest import SIZE, random_clip
from tests.stream.test_session import open_session, run
from tests.stream.test_switch import run_switched

CASES: dict[str, dict[str, Any]] = {
    "batch": {"steps": 2},
    "sequential": {"mode": "sequential", "steps": 2, "noise_controller": False, "decoder": "taehv"},
    "published": {"steps": 1, "cache_policy": "streamdiffusionv2", "refresh_frames": 8},
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_frames_come_two_chunks_later(model: Model, rng: np.random.Generator, name: str) -> None:
    clip = random_clip(rng, 5 + 4 * 7 + 2)
    with open_session(model, **CASES[name]) as session:
        expected = run(session, clip)
        delay = session.stats()["delay_chunks"]
    with open_session(model, schedule="throughput", **CASES[name]) as session:
        for _ in range(2):
            pushed = [session.push(clip[:5]), *(session.push(part) for part in np.split(clip[5:33], 7))]
            counts = [len(frames) for frames in pushed]
            # The first chunk is decoded by its own call, later ones by that of `delay` chunks later.
            assert counts == [0, 0, *[0] * delay, 5, *[4] * (5 - delay)]
            video = np.concatenate([*pushed, session.push(clip[33:]), session.flush()])
            np.testing.assert_array_equal(video, expected)
            session.reset()


def test_controls_and_switches_count_from_the_same_chunk_on(model: Model, rng: np.random.Generator) -> None:
    """What is written between two pushes meets neither the chunks that are still under way nor later ones."""
    clip = random_clip(rng, 5 + 4 * 9)
    outputs = []
    for schedule in ("latency", "throughput"):
        with open_session(model, schedule=schedule, steps=2) as session:
            frames = [session.push(clip[:13])]
            session.noise_scale, session.timesteps, session.seed = 0.5, (640, 320), 8
            frames.append(session.push(clip[13:17]))
            session.prompt = "another prompt"
            frames.append(session.push(clip[17:25]))
            frames.append(session.switch(mode="sequential", steps=3))
            frames.append(session.push(clip[25:]))
            outputs.append(np.concatenate([*frames, session.flush()]))
    np.testing.assert_array_equal(*outputs)


def test_switches_give_every_frame(model: Model, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 5 + 4 * 6)
    with open_session(model, schedule="throughput", steps=2, configurations=[{"steps": 1}]) as session:
        video, returned = run_switched(session, clip, {3: {"steps": 1}})
    assert len(video) == len(clip) and returned == [5 + 4 * 2]  # all of the chunks before the switch


def test_text_to_video(model: Model) -> None:
    config = Config.text_to_video(height=SIZE[0], width=SIZE[1], steps=1, cache_frames=6)
    outputs = []
    for schedule in ("latency", "throughput"):
        with model.session("waves", config=config, device="cpu", schedule=schedule) as session:
            outputs.append(np.concatenate([session.generate(4), session.flush()]))
    np.testing.assert_array_equal(*outputs)


def test_an_unknown_schedule_is_refused(model: Model) -> None:
    with pytest.raises(PenstockError, match="schedule: expected one of latency, throughput, got 'fast'"):
        open_session(model, schedule="fast")
