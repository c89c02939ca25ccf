"""Sessions of video frames: counts, modes, replay, live controls, text-to-video. Everything on the tiny preset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from penstock.models import Model
from penstock.runtime.config import Config
from penstock.runtime.errors import PenstockError
from penstock.runtime.schedule import sigma_of
from penstock.session import Session
from tests.helpers import normal, relative_l2
from tests.ops.test_motion_noise import moved
from tests.stream.conftest import SIZE, random_clip

MODES = {
    "batch_of_1": {"mode": "stream_batch", "steps": 1},
    "batch_of_2": {"mode": "stream_batch", "steps": 2},
    "batch_of_4": {"mode": "stream_batch", "steps": 4},
    "shared": {"mode": "sequential", "steps": 2},
    "taehv": {"mode": "stream_batch", "steps": 3, "decoder": "taehv"},
    "taehv_encoder": {"mode": "sequential", "steps": 1, "encoder": "taehv", "latent_norm": "normalized"},
}


def open_session(model: Model, prompt: str = "a painting of a harbour", **fields: Any) -> Session:
    return model.session(prompt, height=SIZE[0], width=SIZE[1], threads=2, device="cpu", **fields)


def run(session: Session, clip: np.ndarray) -> np.ndarray:
    """All frames out of a clip, frame by frame."""
    return np.concatenate(list(session.stream(clip)))


def pieces(rng: np.random.Generator, clip: np.ndarray) -> Iterator[np.ndarray]:
    while len(clip):
        count = int(rng.integers(1, 8))
        yield clip[:count]
        clip = clip[count:]


# ---- frames in, frames out


@pytest.mark.parametrize("fields", MODES.values(), ids=MODES)
def test_every_frame_has_its_frame(model: Model, rng: np.random.Generator, fields: dict) -> None:
    """Any number of frames; what comes out does not depend on how the clip was cut, nor on what follows a frame."""
    clip = random_clip(rng, 18)
    with open_session(model, **fields) as session:
        whole = run(session, clip)
        assert whole.shape == clip.shape and whole.dtype == np.uint8 and whole.std() > 10
        for count in (1, 4, 5, 6, 9, 13):
            session.reset()
            assert len(run(session, clip[:count])) == count
        session.reset()
        ragged = np.concatenate([*(session.push(piece) for piece in pieces(rng, clip)), session.flush()])
        np.testing.assert_array_equal(ragged, whole)
        session.reset()
        np.testing.assert_array_equal(run(session, clip[:13]), whole[:13])


def test_frames_leave_the_stream_batch_steps_minus_one_chunks_late(model: Model, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 5 + 4 * 5)
    for steps in (1, 2, 4):
        with open_session(model, steps=steps) as session:
            counts = [len(session.push(clip[:5]))]
            counts += [len(session.push(clip[5 + 4 * chunk : 9 + 4 * chunk])) for chunk in range(5)]
            assert counts == [5, *[0] * (steps - 1), *[4] * (6 - steps)]
            assert len(session.flush()) == 4 * (steps - 1)
            stats = session.stats()
    assert (stats["frames_in"], stats["frames_out"], stats["chunks"], stats["delay_chunks"]) == (25, 25, 6, 3)
    runs = {phase: record["runs"] for phase, record in stats["phases"].items()}
    assert runs == {"set_prompt": 1, "encode_first": 1, "denoise_first": 1, "decode_first": 1, "encode": 5,
                    "denoise": 8, "decode": 5}  # fmt: skip
    assert all(record["total_ms"] >= record["last_ms"] > 0 for record in stats["phases"].values())


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("fields", [{}, {"clean_context": True}, {"refresh_frames": 8}], ids=["", "clean", "refresh"])
def test_stream_batch_equals_sequential_with_history_per_step(
    model: Model, rng: np.random.Generator, steps: int, fields: dict
) -> None:
    clip = random_clip(rng, 5 + 4 * 9)
    with open_session(model, mode="stream_batch", steps=steps, seed=3, **fields) as batch:
        expected = run(batch, clip)
    with open_session(model, mode="sequential", history="per_step", steps=steps, seed=3, **fields) as sequential:
        actual = run(sequential, clip)
    # The rows of a matrix product may be summed in another order, and one rounding to 8 bits then differs.
    difference = np.abs(actual.astype(int) - expected.astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_shared_history_is_another_stream(model: Model, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 17)
    with open_session(model, mode="sequential", steps=2) as shared:
        outputs = [run(shared, clip)]
    with open_session(model, mode="sequential", steps=2, history="per_step") as per_step:
        outputs.append(run(per_step, clip))
    np.testing.assert_array_equal(outputs[0][:5], outputs[1][:5])
    assert relative_l2(outputs[0][9:], outputs[1][9:]) > 1e-3


# ---- replay and reset


def test_replay_and_reset_are_exact(model: Model, rng: np.random.Generator) -> None:
    """Same seed and inputs, same bits: in another session, and after a reset that undoes every setting."""
    clip = random_clip(rng, 21)
    with open_session(model, seed=5) as session, open_session(model, seed=5) as again:
        first = run(session, clip)
        np.testing.assert_array_equal(run(again, clip), first)
        session.reset()
        session.prompt, session.noise_scale, session.seed, session.timesteps = "something else", 0.5, 9, (600, 300)
        assert relative_l2(run(session, clip), first) > 1e-2
        session.reset()
        assert (session.prompt, session.noise_scale, session.seed) == ("a painting of a harbour", 0.8, 5)
        assert session.timesteps == (700, 500) and session.stats()["frames_in"] == 0
        np.testing.assert_array_equal(run(session, clip), first)
    with open_session(model, seed=6) as other:
        assert relative_l2(run(other, clip), first) > 1e-2


def test_two_sessions_do_not_mix(model: Model, rng: np.random.Generator) -> None:
    clips = [random_clip(rng, 13), random_clip(rng, 13)]
    alone = []
    for clip in clips:
        with open_session(model) as session:
            alone.append(run(session, clip))
    with open_session(model) as a, open_session(model) as b:
        outputs: list[list[np.ndarray]] = [[], []]
        for frames in zip(*clips, strict=True):
            for session, frame, output in zip((a, b), frames, outputs, strict=True):
                output.append(session.push(frame))
        for session, output, expected in zip((a, b), outputs, alone, strict=True):
            np.testing.assert_array_equal(np.concatenate([*output, session.flush()]), expected)


# ---- live controls


CONTROLS = {
    "prompt": lambda session: setattr(session, "prompt", "a completely different prompt"),
    "noise_scale": lambda session: setattr(session, "noise_scale", 0.4),
    "seed": lambda session: setattr(session, "seed", 77),
    "timesteps": lambda session: setattr(session, "timesteps", (800, 300)),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_counts_from_the_next_chunk_on(model: Model, rng: np.random.Generator, name: str) -> None:
    clip = random_clip(rng, 29)
    with open_session(model, mode="sequential") as session:
        plain = run(session, clip)
        session.reset()
        before = session.push(clip[:13])
        CONTROLS[name](session)
        after = np.concatenate([session.push(clip[13:]), session.flush()])
    np.testing.assert_array_equal(before, plain[:13])
    assert relative_l2(after[:4], plain[13:17]) > 1e-3


def test_setting_the_same_values_changes_nothing(model: Model, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 21)
    with open_session(model) as session:
        plain = run(session, clip)
        session.reset()
        before = session.push(clip[:9])
        session.prompt, session.noise_scale = session.prompt, session.noise_scale
        session.seed, session.timesteps = session.seed, session.timesteps
        np.testing.assert_array_equal(np.concatenate([before, session.push(clip[9:]), session.flush()]), plain)


def test_timesteps_reach_the_model(model: Model, rng: np.random.Generator) -> None:
    """A session switched before its first chunk equals one that was made with that list."""
    clip = random_clip(rng, 13)
    fields = {"noise_controller": False, "mode": "sequential"}
    with open_session(model, timesteps=(650, 240), **fields) as made, open_session(model, **fields) as switched:
        switched.timesteps = (650, 240)
        np.testing.assert_array_equal(run(switched, clip), run(made, clip))


def test_every_timestep_has_its_level(model: Model) -> None:
    """What the engine writes is what schedule.py says, to the bit; a clean-context pass keeps its 0."""
    with open_session(model, steps=2, clean_context=True) as session:
        core = session._open()
        for first in range(2, 1001):
            core.set_timesteps([first, first - 1])
            assert core.read("timestep").tolist() == [first, first - 1, 0]
            assert core.read("sigma").tolist() == [sigma_of(first), sigma_of(first - 1), sigma_of(0)]
        assert core.read("first_timestep").tolist() == [1000]
        for bad, message in (([700], "expected 2, one for each step, got 1"), ([5, 0], "in (0, 1000], got 0"),
                             ([1001, 5], "in (0, 1000], got 1001")):  # fmt: skip
            with pytest.raises(PenstockError, match=re.escape(message)):
                core.set_timesteps(bad)
        assert core.read("timestep").tolist() == [1000, 999, 0]


# ---- the noise controller (spec 9.3)


MOTIONS = (0, 1, 1, 1, 1, 0.5, 0.5, 0, 0)
LEVELS = (0.8, 0.8, 0.71, 0.701, 0.7001, 0.70001, 0.745, 0.7495, 0.79495, 0.7995)
TIMESTEPS = (700, 700, 610, 601, 600, 600, 645, 649, 694, 699)


def test_controller_sequence_through_the_session(model: Model, rng: np.random.Generator) -> None:
    """Pictures that move at full scale, at half of it or not at all give the golden levels and timesteps."""
    chunks = [np.repeat(rng.integers(0, 100, (1, *SIZE, 3), np.uint8), 5, axis=0)]
    for motion in MOTIONS:
        chunks.append(moved(rng, chunks[-1][-1], motion))
    with open_session(model, mode="sequential") as session:
        for chunk, frames in enumerate(chunks):
            session.push(frames)
            state = {name: session._core.read(name)[0] for name in ("noise_level", "timestep", "sigma")}
            assert state["timestep"] == TIMESTEPS[chunk]
            assert state["noise_level"] == pytest.approx(LEVELS[chunk], abs=5e-5)
            assert state["sigma"] == np.float32(sigma_of(TIMESTEPS[chunk]))


def test_without_controller_the_list_holds(model: Model, rng: np.random.Generator) -> None:
    with open_session(model, noise_controller=False, noise_scale=0.6) as session:
        run(session, random_clip(rng, 13))
        np.testing.assert_array_equal(session._core.read("timestep"), [700, 500])
        assert session._core.read("noise_scale")[0] == np.float32(0.6)


# ---- injected noise


def test_injected_noise_equals_drawn_noise(model: Model, rng: np.random.Generator) -> None:
    """The Philox normals of a chunk, handed in as injected noise in the draw order, give the same frames."""
    from penstock.kernels.reference import INPUT_NOISE, RENOISE, philox_normals

    clip = random_clip(rng, 13)
    h, w = SIZE[0] // 8, SIZE[1] // 8
    with open_session(model, mode="sequential", steps=2, seed=21) as session:
        plain = run(session, clip)
        session.reset()
        outputs = []
        for chunk, (start, stop, latents) in enumerate(((0, 5, 2), (5, 9, 1), (9, 13, 1))):
            like = torch.zeros(latents, 16, h, w, dtype=torch.float32)
            draws = [philox_normals(21, chunk, 0, purpose, like) for purpose in (INPUT_NOISE, RENOISE)]
            outputs.append(session.push(clip[start:stop], noise=torch.stack(draws).numpy()))
        actual = np.concatenate([*outputs, session.flush()])
        assert np.abs(actual.astype(int) - plain.astype(int)).max() <= 1
        session.reset()
        other = session.push(clip[:5], noise=normal(rng, 2, 2, 16, h, w))
    assert relative_l2(other, plain[:5]) > 1e-2


# ---- text-to-video


@pytest.mark.parametrize("fields", [{}, {"mode": "sequential"}], ids=["stream_batch", "sequential"])
def test_text_to_video(model: Model, fields: dict) -> None:
    config = Config.text_to_video(height=SIZE[0], width=SIZE[1], steps=2, **fields)
    assert config.schedule == (1000, 750, 0) and config.passes == 3
    with model.session("waves", config=config, seed=4) as session:
        blocks = [session.generate() for _ in range(9)]
        blocks.append(session.flush())
        frames = np.concatenate(blocks)
        late = 2 if config.mode == "stream_batch" else 0
        assert [len(block) for block in blocks] == [9, *[0] * late, *[12] * (8 - late), 12 * late]
        assert np.isfinite(session._core.read("x0")).all() and frames.std() > 10
        assert session._core.read("timestep").tolist() == [1000, 750, 0]
        session.reset()
        np.testing.assert_array_equal(session.generate(9)[:9], frames[:9])
        session.reset()
        session.seed = 5
        assert relative_l2(session.generate(1), frames[:9]) > 1e-2


def test_text_to_video_decodes_every_block(model: Model) -> None:
    """The published code skips block 1 (spec 2.10); here the modes agree on every frame."""
    outputs = []
    for fields in ({}, {"mode": "sequential", "history": "per_step"}):
        config = Config.text_to_video(height=SIZE[0], width=SIZE[1], steps=2, **fields)
        with model.session("waves", config=config) as session:
            outputs.append(np.concatenate([session.generate(9), session.flush()]).astype(int))
    assert outputs[0].shape == outputs[1].shape == (9 + 8 * 12, *SIZE, 3)
    assert np.abs(outputs[0] - outputs[1]).max() <= 1
