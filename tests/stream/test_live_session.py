"""A session beside its caller: submit and pull, queues, cancel, prompts of engine directories."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from penstock import PenstockError, Queue
from penstock.models import Model
from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.engine import Engine
from penstock.runtime.prompt import PROMPT_FILE, read_prompt

from .conftest import SIZE, random_clip

SETTINGS = {"height": SIZE[0], "width": SIZE[1], "steps": 2, "device": "cpu"}


def test_submit_equals_push(model: Model, rng: np.random.Generator) -> None:
    """From another thread, with a queue that is shorter than the stream, and with a control in between."""
    clip = random_clip(rng, 22)
    with model.session("a tower", **SETTINGS) as session:
        expected = np.concatenate(list(session.stream(clip)))
    with model.session("a tower", queue=Queue(frames=6), **SETTINGS) as session:

        def feed() -> None:
            for i, frame in enumerate(clip):
                assert session.submit(frame, [1000 - i]) == 1
            session.end()

        thread = threading.Thread(target=feed)
        thread.start()
        frames, stamps = [], []
        while session.wait():
            finished, times = session.pull()
            frames.append(finished)
            stamps += times
            session.seed = 0  # a control, between two chunks of the worker
        thread.join()
        stats = session.stats()
    np.testing.assert_array_equal(np.concatenate(frames), expected)
    assert stamps == [1000 - i for i in range(22)]
    assert (stats["frames_in"], stats["frames_out"], stats["frames_dropped"], stats["frames_queued"]) == (22, 22, 0, 0)
    assert stats["max_latency_ms"] >= stats["last_latency_ms"] > 0


def test_latest_wins_drops_what_is_late(model: Model, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 40)
    with model.session("a", queue=Queue("latest_wins", 8, deadline_ms=1e-6), **SETTINGS) as session:
        assert session.submit(clip, range(40)) == 40
        session.end()
        stamps = []
        while session.wait():
            stamps += session.pull()[1]
        stats = session.stats()
    assert stamps == sorted(stamps) and stamps[-1] == 39
    assert stats["frames_dropped"] + stats["frames_out"] == 40 and stats["frames_dropped"] > 8
    assert stats["deadline_misses"] == stats["frames_out"] > 0


def test_a_full_queue_says_so(model: Model, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 40)
    with model.session("a", queue=Queue("block", 5), **SETTINGS) as session:
        taken = session.submit(clip, timeout=0)
        assert 5 <= taken <= 10
        session.cancel()
        with pytest.raises(PenstockError, match="cancelled; reset it"):
            session.submit(clip[0])
        session.reset()
        assert len(session.push(clip[:5])) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((1, *SIZE, 3), np.uint8), [1, 2]), "timestamps: expected 1 integers"),
        ((np.zeros((1, *SIZE, 3), np.uint8), [0.5]), "timestamps: expected 1 integers"),
        ((np.zeros((1, *SIZE, 3), np.uint8), [2**63]), "timestamps: expected 1 integers"),
        ((np.zeros((1, *SIZE, 3), np.uint8), None, -1), "timeout: expected seconds"),
    ],
)
def test_bad_arguments(model: Model, arguments: tuple, message: str) -> None:
    with model.session("a", **SETTINGS) as session, pytest.raises(PenstockError, match=message):
        session.submit(*arguments)


@pytest.mark.parametrize("queue", [Queue("newest"), Queue(frames=4), Queue(frames="many"), Queue(deadline_ms=-1)])
def test_bad_queues(model: Model, queue: Queue) -> None:
    with pytest.raises(PenstockError, match=r"queue|deadline_ms"):
        model.session("a", queue=queue, **SETTINGS)


def test_a_built_prompt_is_what_sessions_begin_with(model: Model, model_path: Path, tmp_path: Path) -> None:
    config = Config(height=SIZE[0], width=SIZE[1], steps=1)
    prompt = model.embed("a red house")
    build(model_path, tmp_path / "engine", config, prompt=prompt)
    assert read_prompt(tmp_path / "engine" / PROMPT_FILE).text == "a red house"
    session = Engine.open(tmp_path / "engine", device="cpu").session()
    for _ in range(2):
        written = session.read("prompt_embeddings")
        np.testing.assert_array_equal(written[: prompt.rows], prompt.embeddings)
        assert (written[prompt.rows :] == 0).all() and session.read("prompt_length") == prompt.rows
        session.set_prompt(prompt.embeddings[:1])
        session.reset()
    build(model_path, tmp_path / "engine", config)
    assert not (tmp_path / "engine" / PROMPT_FILE).exists()
    (tmp_path / "engine" / PROMPT_FILE).write_bytes(b"not a safetensors file")
    with pytest.raises(PenstockError, match=PROMPT_FILE):
        Engine.open(tmp_path / "engine", device="cpu")
