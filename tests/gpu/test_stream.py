"""Streams on a device: against the CPU backend with the same noise, replayed, side by side.

Bound of the comparison: the device computes in bf16 (8 bits of mantissa), the CPU in float32. A forward of L layers
adds about sqrt(L) roundings of 2^-9 each; through encoder, n passes and decoder the relative error of the frames should
stay well below 5 %, where another noise gives several times that (asserted too).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.models import Model, load
from penstock.runtime.synth import synth
from penstock.session import Session
from penstock.video import generate_clip
from tests.helpers import relative_l2

SIZE = (128, 192)
CHUNKS = 20
BOUND, OTHER = 0.05, 0.2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder: Path = tmp_path_factory.mktemp("tiny")
    synth("tiny", folder, seed=5)
    return load(folder)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return np.stack(list(generate_clip(5 + 4 * CHUNKS, SIZE)))


def open_session(model: Model, device: str, **fields: Any) -> Session:
    return model.session("a lighthouse", height=SIZE[0], width=SIZE[1], device=device, seed=9, **fields)


def run(session: Session, clip: np.ndarray) -> np.ndarray:
    return np.concatenate(list(session.stream(clip))).astype(np.float32)


CASES = {
    "batch": {"steps": 2, "sink_threshold": -1.0},
    "sequential": {"steps": 2, "mode": "sequential", "sink_threshold": -1.0},
    "published": {"steps": 2, "cache_policy": "streamdiffusionv2", "sink_threshold": -1.0, "refresh_frames": 12},
    "refresh": {"steps": 1, "refresh_frames": 10, "sink_threshold": -1.0},
    "adaptive": {"steps": 2},
    "8 bits": {"steps": 2, "precision": "fp8_attention", "refresh_frames": 12, "sink_threshold": -1.0},
    "taehv": {"steps": 1, "decoder": "taehv", "sink_threshold": -1.0},
}


@pytest.mark.parametrize("name", CASES)
def test_a_stream_equals_the_cpu_backend(model: Model, clip: np.ndarray, name: str) -> None:
    with open_session(model, "cuda", **CASES[name]) as session:
        actual = run(session, clip)
        stats = session.stats()
        assert stats["graph_replays"] == stats["phases_run"] > 3 * CHUNKS
        session.reset()
        session.seed = 10
        other = run(session, clip)
    with open_session(model, "cpu", **CASES[name]) as session:
        expected = run(session, clip)
    error = relative_l2(actual, expected)
    print(f"{name}: relative L2 of 8-bit frames {error:.1e}, with another seed {relative_l2(other, expected):.1e}")
    assert error < BOUND and relative_l2(other, expected) > OTHER


def test_an_8_bit_vae_is_as_far_from_the_plain_one_as_on_the_cpu(model: Model, clip: np.ndarray) -> None:
    """Values on the border between two codes take either, and more of them behind those: no closer bound holds."""
    frames = {}
    for device, precision in (("cuda", "fp8_vae"), ("cpu", "fp8_vae"), ("cpu", "")):
        with open_session(model, device, steps=1, precision=precision) as session:
            frames[device, precision] = run(session, clip)
    effect = relative_l2(frames["cpu", "fp8_vae"], frames["cpu", ""])
    error = relative_l2(frames["cuda", "fp8_vae"], frames["cpu", "fp8_vae"])
    print(
        f"8-bit VAE: relative L2 of 8-bit frames {error:.1e} from the CPU backend, which is {effect:.1e} from float32"
    )
    assert 0 < error < 1.5 * effect


def test_replay_is_exact(model: Model, clip: np.ndarray) -> None:
    with open_session(model, "cuda") as session:
        first = run(session, clip)
        session.reset()
        np.testing.assert_array_equal(run(session, clip), first)


def test_two_sessions_side_by_side(model: Model, clip: np.ndarray) -> None:
    with open_session(model, "cuda") as session:
        alone = run(session, clip)
    with open_session(model, "cuda") as a, open_session(model, "cuda") as b:
        outputs: list[list[np.ndarray]] = [[], []]
        for start in range(0, len(clip), 3):
            for session, output in zip((a, b), outputs, strict=True):
                output.append(session.push(clip[start : start + 3]))
        for session, output in zip((a, b), outputs, strict=True):
            np.testing.assert_array_equal(np.concatenate([*output, session.flush()]), alone)


def test_the_motion_controller_decides_alike(model: Model, clip: np.ndarray) -> None:
    """Timesteps are decided by the floor of a double: device and host must agree to the bit."""
    with open_session(model, "cuda", steps=1) as device, open_session(model, "cpu", steps=1) as host:
        for start in range(0, len(clip), 4):
            for session in (device, host):
                session.push(clip[start : start + 4])
            for name in ("timestep", "sigma", "noise_level"):
                np.testing.assert_array_equal(device._core.read(name), host._core.read(name))


def test_create_and_destroy_leak_nothing(model: Model) -> None:
    import torch

    open_session(model, "cuda").close()
    free = torch.cuda.mem_get_info()[0]
    for _ in range(5):
        open_session(model, "cuda").close()
    assert torch.cuda.mem_get_info()[0] >= free - (64 << 20)


def test_throughput_gives_the_same_frames(model: Model, clip: np.ndarray) -> None:
    """To the bit: what runs side by side on the device must not meet."""
    with open_session(model, "cuda") as session:
        expected = run(session, clip)
    with open_session(model, "cuda", schedule="throughput") as session:
        for _ in range(3):
            np.testing.assert_array_equal(run(session, clip), expected)
            session.reset()


@pytest.mark.parametrize("schedule", ["latency", "throughput"])
def test_a_switch_goes_on_as_on_the_cpu_backend(model: Model, clip: np.ndarray, schedule: str) -> None:
    outputs = []
    for device in ("cuda", "cpu"):
        with open_session(model, device, steps=2, sink_threshold=-1.0, schedule=schedule,
                          configurations=[{"steps": 3}, {"mode": "sequential"}]) as session:  # fmt: skip
            frames = [session.push(clip[:29]), session.switch(steps=3), session.push(clip[29:49])]
            frames += [session.switch(steps=2, mode="sequential"), session.push(clip[49:]), session.flush()]
            outputs.append(np.concatenate(frames).astype(np.float32))
    assert len(outputs[0]) == len(clip) and relative_l2(*outputs) < BOUND
