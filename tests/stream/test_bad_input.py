"""What a session refuses: one clear line, and the stream goes on where it can."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from penstock import PenstockError
from penstock.models import Model, load
from penstock.runtime.config import Config
from penstock.session import Session
from tests.cuda.dlpack import Producer
from tests.stream.conftest import SIZE, random_clip

SETTINGS = {"height": SIZE[0], "width": SIZE[1], "device": "cpu"}


@pytest.fixture
def session(model: Model) -> Session:
    return model.session("a prompt", **SETTINGS)


def fails(call: Any, *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(PenstockError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


BAD_FRAMES = {
    "size": (np.zeros((1, 48, 65, 3), np.uint8), r"[48, 64, 3] or [n, 48, 64, 3], got [1, 48, 65, 3]"),
    "channels": (np.zeros((2, 48, 64, 4), np.uint8), "got [2, 48, 64, 4]"),
    "planar": (np.zeros((3, 48, 64), np.uint8), "got [3, 48, 64]"),
    "empty": (np.zeros(0, np.uint8), "got [0]"),
    "dtype": (np.zeros((1, 48, 64, 3), np.int16), "expected uint8, or float from 0 to 1, got int16"),
    "nan": (np.full((2, 48, 64, 3), np.nan, np.float32), "expected finite values, got NaN or infinity in frame 0"),
    "range": (np.full((1, 48, 64, 3), 255.0), "expected floats from 0 to 1, got 255 to 255 in frame 0"),
    "text": ("a frame", "expected uint8"),
    "planar tensor": (torch.zeros(1, 3, 48, 64, dtype=torch.uint8), "got [1, 3, 48, 64]"),
    "integers": (torch.zeros(1, 48, 64, 3, dtype=torch.int32), "expected uint8, or float from 0 to 1, got int32"),
    "bfloat16": (torch.zeros(1, 48, 64, 3, dtype=torch.bfloat16), "expected an array on the host, got Tensor"),
    "gradient": (torch.zeros(1, 48, 64, 3, requires_grad=True), "expected an array on the host, got Tensor"),
    "no device": (torch.zeros(1, 48, 64, 3, dtype=torch.uint8, device="meta"), "Tensor is on no device of DLPack"),
    "ragged": ([[1, 2], [3]], "expected an array on the host, got list"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frames(model: Model, session: Session, rng: np.random.Generator, name: str) -> None:
    """A refused push changes nothing: the stream goes on as if it had not been."""
    frames, expected = BAD_FRAMES[name]
    clip = random_clip(rng, 9)
    before = session.push(clip[:7])
    message = fails(session.push, frames)
    assert message.startswith("frames: ") and (expected in message or name == "text")
    after = session.push(clip[7:])
    with model.session("a prompt", **SETTINGS) as other:
        np.testing.assert_array_equal(np.concatenate([before, after, session.flush()]),
                                      np.concatenate(list(other.stream(clip))))  # fmt: skip


def test_frames_of_other_libraries_and_floats(model: Model, session: Session, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 5)
    expected = session.push(clip)
    planes = torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous()
    for frames in (torch.from_numpy(clip), planes.permute(0, 2, 3, 1), clip.astype(np.float32) / 255,
                   torch.from_numpy(clip).double() / 255, clip[:, ::-1][:, ::-1], clip.tolist()):  # fmt: skip
        session.reset()
        if isinstance(frames, list):
            assert "int64" in fails(session.push, frames)
            continue
        np.testing.assert_array_equal(session.push(frames), expected)


def test_device_frames_need_a_device(model: Model, session: Session) -> None:
    interface = {"shape": (48, 64, 3), "typestr": "|u1", "data": (4096, False), "version": 3}
    for frames in (Producer(4096, (1, 48, 64, 3)), SimpleNamespace(__cuda_array_interface__=interface)):
        for call in (session.push, session.submit):
            assert "CUDA frames need an engine on CUDA, this one is on cpu" in fails(call, frames)
    session.reset()
    assert "expected an array on the host" in fails(session.encode, Producer(4096, (5, 48, 64, 3)))
    assert "CUDA frames need an engine on CUDA, this one is on cpu" in fails(
        model.session, "a prompt", output="cuda", **SETTINGS
    )
    assert fails(model.session, "a", output="gpu", **SETTINGS) == "output: expected host or cuda, got 'gpu'"


def test_push_after_the_end(session: Session, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 6)
    session.push(clip)
    assert len(session.flush()) == 1 and len(session.flush()) == 0
    assert fails(session.push, clip) == "push after flush; reset the session to begin a new stream"
    session.reset()
    session.push(clip)
    session.close()
    for call in (session.push, session.encode):
        assert fails(call, clip) == "the session is closed"
    for call in (session.flush, session.reset, session.stats, session.ring, session.denoise):
        assert fails(call) == "the session is closed"
    session.close()


def test_flush_of_nothing(session: Session) -> None:
    assert session.flush().shape == (0, *SIZE, 3)


def test_frames_and_stages_do_not_mix(session: Session, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 5)
    session.push(clip)
    assert "driven by frames; reset it to drive it by stages" in fails(session.denoise)
    session.reset()
    session.encode(clip)
    assert "driven by stages; reset it to drive it by frames" in fails(session.push, clip)
    assert "expected the 4 frames of a chunk, got 5" in fails(session.encode, clip)


def test_bad_noise(session: Session, rng: np.random.Generator) -> None:
    clip = random_clip(rng, 9)
    noise = np.zeros((2, 2, 16, 6, 8), np.float32)
    assert "expected the 5 frames that complete one chunk, got 4" in fails(session.push, clip[:4], noise=noise)
    assert "expected shape [2, 2, 16, 6, 8], got [2, 1, 16, 6, 8]" in fails(session.push, clip[:5], noise=noise[:, :1])
    assert "expected finite values" in fails(session.push, clip[:5], noise=np.full_like(noise, np.nan))
    assert "expected floats" in fails(session.push, clip[:5], noise="noise")
    session.push(clip[:3])
    assert len(session.push(clip[3:5], noise=noise)) == 5


def test_bad_stage_input(session: Session) -> None:
    assert "finite" in fails(session.denoise, np.full((2, 16, 6, 8), np.inf))
    assert "'latents_first'" in fails(session.denoise, np.zeros((1, 16, 6, 8)))
    assert "timestep: expected 0 to 1000, got 'a'" in fails(session.denoise, timestep="a")
    assert "timestep: expected 0 to 1000, got 1001" in fails(session.denoise, timestep=1001)
    assert "expected latents [2, 16, 6, 8], got [1, 16, 6, 8]" in fails(session.decode, np.zeros((1, 16, 6, 8)))


def test_bad_controls(session: Session) -> None:
    def set_to(name: str, value: Any) -> str:
        return fails(setattr, session, name, value)

    assert set_to("noise_scale", 1.5) == "noise_scale: expected 0.1 to 1, got 1.5"
    assert "0.1 to 1, got 0.05" in set_to("noise_scale", 0.05)
    assert "got nan" in set_to("noise_scale", float("nan"))
    assert set_to("seed", -1).startswith("seed: expected an integer from 0 to 2**64 - 1")
    assert set_to("noise_scale", True) == "noise_scale: expected 0.1 to 1, got True"
    assert set_to("timesteps", (700,)) == "timesteps: expected 2, one for each step, got (700,)"
    assert set_to("timesteps", 5) == "timesteps: expected 2, one for each step, got 5"
    assert "expected integers in (0, 1000], got ['a', 'b']" in set_to("timesteps", ("a", "b"))
    assert set_to("prompt", 5) == "prompt: expected text or a Prompt, got int"
    session.noise_scale = np.float32(0.5)
    session.noise_scale = 0.8
    assert "(0, 1000]" in set_to("timesteps", (1200, 3))
    assert (session.noise_scale, session.seed, session.timesteps) == (0.8, 0, (700, 500))


def test_bad_sessions(model: Model) -> None:
    assert "expected 1 to 4 (the list (700, 500, 400, 200)), got 5" in fails(model.session, "a", steps=5)
    assert "height: expected a multiple of 16 pixels, got 100 (nearest: 96)" in fails(model.session, "a", height=100)
    assert "height: expected an integer, got '48'" in fails(model.session, "a", height="48")
    assert "height: expected an integer, got 48.0" in fails(model.session, "a", height=48.0)
    assert "noise_scale: expected a number, got '2'" in fails(model.session, "a", noise_scale="2")
    assert "noise_controller: expected True or False, got 1" in fails(model.session, "a", noise_controller=1)
    assert "unknown settings: hight" in fails(model.session, "a", hight=96)
    assert "got config and steps" in fails(model.session, "a", config=Config(), steps=1)
    assert "latent_norm: expected normalized with encoder taehv" in fails(model.session, "a", encoder="taehv")
    assert "decoder: expected one of wan, taehv, none, got 'none at all'" in fails(
        model.session, "a", decoder="none at all"
    )
    assert "noise_scale: expected 0.1 to 1 with noise_controller" in fails(model.session, "a", noise_scale=0.0)
    assert "expected 1 with source noise" in fails(model.session, "a", source="noise")


def test_video_and_noise_sources_refuse_each_other(model: Model, session: Session, rng: np.random.Generator) -> None:
    assert "this configuration is video-to-video, push frames instead" in fails(session.generate)
    assert "expected a number of blocks, got '1'" in fails(session.generate, "1")
    session.push(random_clip(rng, 1))
    with model.session("a", config=Config.text_to_video(height=SIZE[0], width=SIZE[1])) as noise:
        assert "takes no frames" in fails(noise.push, random_clip(rng, 5))
        assert "pure noise" in fails(setattr, noise, "noise_scale", 0.5)
        assert "takes no frames" in fails(noise.encode, random_clip(rng, 9))


def test_a_failed_chunk_stops_the_stream(session: Session, rng: np.random.Generator) -> None:
    """A host that writes nonsense into the step state gets an error, and the session says so until it is reset."""
    clip = random_clip(rng, 9)
    frames = session.push(clip[:5])
    session._core.write("chunk", [-5])
    assert "chunk is -5" in fails(session.push, clip[5:])
    assert "the stream stopped at an error (ring_advance: chunk is -5" in fails(session.push, clip[5:])
    assert "the stream stopped at an error" in fails(session.flush)
    session.reset()
    np.testing.assert_array_equal(session.push(clip[:5]), frames)


def test_loading(tmp_path: Any) -> None:
    assert "found no model.json" in fails(load, tmp_path)
    assert "a preset, not a directory" in fails(load, "wan2.1-t2v-1.3b")
    assert "found no model.json" in fails(load, tmp_path / "nothing")
