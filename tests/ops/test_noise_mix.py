"""noise_mix against float64, with noise from the host and with Philox noise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import Arrays, check_op, i32, normal, run_op

SHAPES = [(1, 1, 1, 37), (1, 16, 7, 5), (2, 16, 60, 104), (3, 5, 3, 3)]


def draw_inputs(rng: np.random.Generator, shape: tuple[int, ...], given: int) -> Arrays:
    return {
        "latents": normal(rng, *shape),
        "noise": normal(rng, *shape),
        "noise_given": i32(given),
        "noise_scale": rng.uniform(0, 1, 1).astype(np.float32),
        "seed": rng.integers(0, 2**64, 1, dtype=np.uint64),
        "row_chunk": rng.integers(0, 2**40, 3, dtype=np.int64),
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("given", [0, 1])
def test_every_shape(rng: np.random.Generator, shape: tuple[int, ...], given: int) -> None:
    inputs = draw_inputs(rng, shape, given)
    check_op("noise_mix", inputs, {"x": (1, *shape)})


def test_ignored_noise_may_hold_anything(rng: np.random.Generator) -> None:
    inputs = draw_inputs(rng, SHAPES[1], given=0)
    inputs["noise"][:] = np.nan
    check_op("noise_mix", inputs, {"x": (1, *SHAPES[1])})


def test_scale_zero_is_the_latents_exactly(rng: np.random.Generator) -> None:
    inputs = draw_inputs(rng, SHAPES[1], given=0)
    inputs["noise_scale"][:] = 0
    assert np.array_equal(run_op("noise_mix", inputs, {"x": (1, *SHAPES[1])})["x"][0], inputs["latents"])
