"""motion_noise against the published controller: its precision, its golden sequence, and the schedule's table."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.runtime.errors import PenstockError
from penstock.runtime.schedule import sigma_of, sigma_table
from tests.helpers import Arrays, assert_same_bits, run_op

Control = Callable[..., Arrays]  # control of this module, or a kernel's

OUTPUTS = {"noise_scale": (1,), "timestep": (1,), "sigma": (1,)}


def f32(value: float) -> np.ndarray:
    return np.array([value], np.float32)


def level_of(state: Arrays) -> float:
    return struct.unpack("d", struct.pack("q", int(state["level_bits"][0])))[0]


def control(frames: np.ndarray, state: Arrays, phase: str, initial: float = 0.8, **inputs: np.ndarray) -> Arrays:
    sigmas, timesteps = sigma_table()
    inputs = {"frames": frames, "initial_scale": f32(initial), "first_timestep": f32(700),
              "table_timesteps": timesteps, "table_sigmas": sigmas} | inputs  # fmt: skip
    actual = run_op("motion_noise", inputs, OUTPUTS, state, phase=phase)
    assert_same_bits(run_op("motion_noise", inputs, OUTPUTS, state, threads=2, phase=phase), actual, "for 2 threads")
    assert np.array_equal(actual["previous"], frames[-1:])
    assert actual["noise_scale"][0] == np.float32(level_of(actual))
    assert actual["sigma"][0] == sigma_of(actual["timestep"][0])
    return actual


def state_of(previous: np.ndarray, level: float | None = None) -> Arrays:
    bits = 0 if level is None else struct.unpack("q", struct.pack("d", level))[0]
    return {"previous": previous, "level_bits": np.array([bits], np.int64)}


def still(rng: np.random.Generator, frames: int) -> np.ndarray:
    return np.repeat(rng.integers(0, 100, (1, 20, 25, 3), np.uint8), frames, axis=0)


def moved(rng: np.random.Generator, last: np.ndarray, dhat: float) -> np.ndarray:
    """Four frames of which the third differs from the second so much that dhat comes out as 0, 0.5 or 1."""
    frames = np.repeat(last[None], 4, axis=0)
    flat = frames[2].reshape(-1)
    places = rng.permutation(flat.size)
    if dhat == 1:
        flat[:] = 255 - flat
    elif dhat == 0.5:  # 13 / 127.5 squared in so many places that the root of the mean is 0.1
        up = np.where(flat < 128, 13, -13)
        chosen = places[: round(flat.size * 0.01 / (13 / 127.5) ** 2)]
        flat[chosen] += up[chosen].astype(np.uint8)
    frames[3] = frames[2]
    return frames


def check_golden_sequence(rng: np.random.Generator, control: Control) -> None:
    """Spec 9.3, with frames that give its dhat."""
    frames = still(rng, 5)
    state = control(frames, state_of(np.zeros_like(frames[:1])), "first")
    levels, timesteps = [level_of(state)], [float(state["timestep"][0])]
    for dhat in (0, 1, 1, 1, 1, 0.5, 0.5, 0, 0):
        frames = moved(rng, frames[-1], dhat)
        state = {role: state[role] for role in ("previous", "level_bits")}
        state = control(frames, state, "next")
        levels.append(level_of(state))
        timesteps.append(float(state["timestep"][0]))
    assert np.allclose(levels, [0.8, 0.8, 0.71, 0.701, 0.7001, 0.70001, 0.745001, 0.7495001, 0.79495001, 0.799495001],
                       rtol=0, atol=1e-12)  # fmt: skip
    assert timesteps == [700, 700, 610, 601, 600, 600, 645, 649, 694, 699]


def test_the_golden_sequence(rng: np.random.Generator) -> None:
    check_golden_sequence(rng, control)


def check_precision(rng: np.random.Generator, shape: tuple[int, ...], control: Control) -> None:
    """Random frames of random contrast: the running level agrees to the last bit."""
    for contrast in (3, 30, 80, 256):
        frames, previous = (rng.integers(0, contrast, (n, *shape[1:]), np.uint8) for n in (shape[0], 1))
        before, initial = float(rng.uniform(0.5, 0.9)), round(float(rng.uniform(0.3, 1.0)), 2)
        dhat = reference_vae.motion(torch.from_numpy(previous), torch.from_numpy(frames))
        level, timestep = reference_vae.next_level(initial, before, dhat)
        actual = control(frames, state_of(previous, before), "next", initial)
        assert (level_of(actual), actual["timestep"][0]) == (level, timestep)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (4, 7, 5, 3), (5, 33, 18, 3), (8, 64, 64, 3)])
def test_motion_in_the_published_precision(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    check_precision(rng, shape, control)


def test_the_mean_of_torch(rng: np.random.Generator) -> None:
    """The published expression as it stands, whose order of summation may cost one unit of bf16."""
    video = rng.integers(100, 130, (5, 48, 40, 3), np.uint8)
    x = (torch.from_numpy(video).float() / 127.5 - 1).bfloat16()
    dhat = float((torch.sqrt(((x[1:] - x[:-1]) ** 2).mean(dim=(1, 2, 3))).max() / 0.2).clamp(0, 1))
    level, _ = reference_vae.next_level(0.8, 0.75, dhat)
    assert level_of(control(video[1:], state_of(video[:1], 0.75), "next")) == pytest.approx(level, abs=0.09 * 2**-7)


def check_decimal(rng: np.random.Generator, initial: float, control: Control) -> None:
    """As float32, 0.7 is below 0.7, and the floor of a thousand times it would be 699."""
    frames = still(rng, 4)
    first = control(frames, state_of(frames[:1]), "first", initial)
    assert level_of(first) == initial and first["timestep"][0] == 700
    for level in (initial, None):  # a stream that has not begun stands at the initial scale
        actual = control(frames, state_of(frames[:1], level), "next", initial)
        expected, timestep = reference_vae.next_level(initial, initial, 0.0)
        assert level_of(actual) == expected and actual["timestep"][0] == max(timestep, 0)


@pytest.mark.parametrize("initial", [0.1, 0.25, 0.55, 0.7, 0.8, 1.0])
def test_the_initial_scale_is_a_decimal(rng: np.random.Generator, initial: float) -> None:
    check_decimal(rng, initial, control)


def test_the_table_decides_ties_by_its_first_entry() -> None:
    table = {"table_timesteps": np.array([710, 690, 690], np.float32), "table_sigmas": np.array([3, 2, 1], np.float32)}
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    inputs = {"frames": frames, "initial_scale": f32(0.8), "first_timestep": f32(700)} | table
    assert run_op("motion_noise", inputs, OUTPUTS, state_of(frames), phase="first")["sigma"][0] == 3
    inputs["first_timestep"] = f32(695)
    assert run_op("motion_noise", inputs, OUTPUTS, state_of(frames), phase="first")["sigma"][0] == 2


@pytest.mark.parametrize("initial", [0.05, 1.5, -1, np.nan, np.inf])
@pytest.mark.parametrize("phase", ["first", "next"])
def test_a_bad_initial_scale_is_an_error(initial: float, phase: str) -> None:
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    with pytest.raises(PenstockError, match="initial_scale"):
        control(frames, state_of(frames, 0.8), phase, initial)


@pytest.mark.parametrize("level", [-0.1, 1.5, np.nan, np.inf])
def test_a_bad_level_is_an_error(level: float) -> None:
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    with pytest.raises(PenstockError, match="level_bits"):
        control(frames, state_of(frames, level), "next")


def test_the_first_chunk_needs_its_timestep() -> None:
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    inputs = {"frames": frames, "initial_scale": f32(0.8), "table_timesteps": f32(700), "table_sigmas": f32(0.7)}
    with pytest.raises(PenstockError, match="first_timestep"):
        run_op("motion_noise", inputs, OUTPUTS, state_of(frames), phase="first")
    run_op("motion_noise", inputs, OUTPUTS, state_of(frames), phase="next")
