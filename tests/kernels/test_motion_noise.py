"""The motion_noise kernels: the tests of the op, to the last bit of the level."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch

from penstock.kernels.motion_noise import motion_noise
from penstock.runtime.schedule import sigma_of, sigma_table
from tests.helpers import Arrays
from tests.kernels.check import run_kernel, tensors_of
from tests.ops.test_motion_noise import check_decimal, check_golden_sequence, check_precision, f32, level_of, state_of


def run(frames: np.ndarray, state: Arrays, phase: str, **inputs: np.ndarray) -> Arrays:
    sigmas, timesteps = sigma_table()
    roles = {"frames": frames, "initial_scale": f32(0.8), "first_timestep": f32(700), "table_timesteps": timesteps,
             "table_sigmas": sigmas} | inputs  # fmt: skip
    outputs = {name: f32(np.nan) for name in ("noise_scale", "timestep", "sigma")}
    actual = run_kernel(motion_noise, tensors_of(roles), tensors_of({**state, **outputs}), phase=phase)
    return {role: values.numpy() for role, values in actual.items()}


def control(frames: np.ndarray, state: Arrays, phase: str, initial: float = 0.8) -> Arrays:
    actual = run(frames, state, phase, initial_scale=f32(initial))
    assert np.array_equal(actual["previous"], frames[-1:])
    assert actual["noise_scale"][0] == np.float32(level_of(actual))
    assert actual["sigma"][0] == sigma_of(actual["timestep"][0])
    return actual


def test_the_golden_sequence(rng: np.random.Generator) -> None:
    check_golden_sequence(rng, control)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (4, 7, 5, 3), (3, 67, 44, 3)])
def test_motion_in_the_published_precision(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    check_precision(rng, shape, control)


def test_squares_are_whole_in_units_of_the_sums() -> None:
    values = (torch.arange(256).float() / 127.5 - 1).bfloat16()
    squares = ((values[:, None] - values) ** 2).double() * 2**20
    assert torch.equal(squares, squares.round())


@pytest.mark.parametrize("initial", [0.1, 0.25, 0.55, 0.7, 0.8, 1.0])
def test_the_initial_scale_is_a_decimal(rng: np.random.Generator, initial: float) -> None:
    check_decimal(rng, initial, control)


def test_the_table_decides_ties_by_its_first_entry() -> None:
    table = {"table_timesteps": np.array([710, 690, 690], np.float32), "table_sigmas": np.array([3, 2, 1], np.float32)}
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    for timestep, sigma in ((700, 3), (695, 2)):
        actual = run(frames, state_of(frames), "first", first_timestep=f32(timestep), **table)
        assert actual["sigma"][0] == sigma


def test_a_long_table() -> None:
    timesteps = np.arange(3000, dtype=np.float32)
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    actual = run(frames, state_of(frames), "first", first_timestep=f32(2500.4), table_timesteps=timesteps,
                 table_sigmas=timesteps / 3)  # fmt: skip
    assert actual["sigma"][0] == np.float32(2500) / 3


@pytest.mark.parametrize(("level", "initial"), [(7.0, 0.8), (-3.0, 0.8), (0.5, 4.0), (0.5, 0.0)])
def test_levels_stay_in_range(level: float, initial: float) -> None:
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    actual = run(frames, state_of(frames, level), "next", initial_scale=f32(initial))
    assert struct.unpack("d", struct.pack("q", int(actual["level_bits"][0])))[0] <= 1.0
    assert 0 <= actual["timestep"][0] <= 900 and 0 < actual["noise_scale"][0] <= 1
