"""The random numbers: known answers, and the distribution and independence of what the ops draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels.reference import philox4x32_10, philox_normals
from tests.helpers import i32, run_op

# Random123, kat_vectors: philox4x32 with 10 rounds (counter, key, result).
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
COUNT = 1 << 18
SIGMAS = 6.0  # a sound generator fails one such comparison in 5e8


def words(text: str) -> np.ndarray:
    return np.array([int(word, 16) for word in text.split()], dtype=np.uint32)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_known_answers(counter: str, key: str, result: str) -> None:
    first, second = (int(word) for word in words(key))
    assert np.array_equal(philox4x32_10(words(counter)[None], (first, second))[0], words(result))


def input_draw(seed: int, chunk: int, count: int = COUNT) -> np.ndarray:
    """What noise_mix draws: with scale 1 its output is the noise."""
    inputs = {
        "latents": np.zeros((1, 1, 1, count), np.float32),
        "noise_scale": np.ones(1, np.float32),
        "seed": np.array([seed], np.uint64),
        "row_chunk": np.array([chunk], np.int64),
    }
    return run_op("noise_mix", inputs, {"x": (1, 1, 1, 1, count)}, threads=2)["x"].reshape(-1).astype(np.float64)


def renoise_draws(seed: int, chunk: int, steps: int, count: int = COUNT) -> np.ndarray:
    """What renoise draws for each step: with next_sigma 1 its output is the noise."""
    zeros = np.zeros((steps, 1, 1, 1, count), np.float32)
    inputs = {
        "flow": zeros,
        "sigma": np.zeros(steps, np.float32),
        "next_sigma": np.ones(steps, np.float32),
        "noise": zeros,
        "noise_given": i32(0),
        "seed": np.array([seed], np.uint64),
        "row_chunk": np.full(steps, chunk, np.int64),
    }
    updated = run_op("renoise", inputs, {"x0": zeros.shape}, {"x": zeros}, threads=2, advance="stay", first_step=0)
    return updated["x"].reshape(steps, -1).astype(np.float64)


def test_moments_of_a_normal_distribution(rng: np.random.Generator) -> None:
    draw = input_draw(int(rng.integers(0, 2**63)), int(rng.integers(0, 1000)))
    moments = {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96), 6: (15, 10170)}  # power: (mean, variance) of x^power
    for power, (mean, variance) in moments.items():
        assert abs((draw**power).mean() - mean) < SIGMAS * np.sqrt(variance / COUNT), f"moment {power}"
    assert 4.0 < np.abs(draw).max() < 6.8  # the smallest 32-bit word gives 6.76


def test_draws_are_independent(rng: np.random.Generator) -> None:
    """Neighbouring elements, chunks, steps, seeds and the two purposes are uncorrelated."""
    seed, chunk = int(rng.integers(0, 2**63)), int(rng.integers(1, 1000))
    draw = input_draw(seed, chunk)
    others = [input_draw(seed, chunk + 1), input_draw(seed + 1, chunk), input_draw(seed + 2**32, chunk),
              input_draw(seed, chunk + 2**32), *renoise_draws(seed, chunk, 3),
              *(np.roll(draw, lag) for lag in (1, 2, 3, 4, 8192))]  # fmt: skip
    for other in others:
        assert abs((draw * other).mean()) < SIGMAS / np.sqrt(COUNT)
        assert abs((draw**2 * other**2).mean() - 1) < SIGMAS * np.sqrt(8 / COUNT)


def test_a_draw_does_not_depend_on_its_length(rng: np.random.Generator) -> None:
    seed = int(rng.integers(0, 2**63))
    assert np.array_equal(input_draw(seed, 5, 8197), input_draw(seed, 5, 20000)[:8197])


def test_the_largest_seed_and_chunk_reach_every_counter_bit() -> None:
    seed, chunk = 2**64 - 1, 2**62 + 12345
    assert np.allclose(input_draw(seed, chunk, 999), philox_normals(seed, chunk, 0, 0, torch.empty(999)), atol=1e-5)
