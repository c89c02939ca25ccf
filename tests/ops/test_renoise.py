"""renoise against float64: every way to advance, with noise from the host and with Philox noise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import Arrays, check_op, i32, normal

CASES = [("shift", 2), ("shift", 4), ("stay", 1), ("stay", 3), ("shift", 1), ("none", 1), ("none", 2)]
SHAPES = [(1, 1, 1, 37), (1, 16, 7, 5), (2, 16, 60, 104), (3, 5, 3, 3)]


def draw_inputs(rng: np.random.Generator, shape: tuple[int, ...], slots: int, renoised: int, given: int) -> Arrays:
    inputs = {
        "flow": normal(rng, slots, *shape),
        "sigma": rng.uniform(0, 1, slots).astype(np.float32),
        "seed": rng.integers(0, 2**64, 1, dtype=np.uint64),
        "row_chunk": rng.integers(0, 2**40, slots, dtype=np.int64),
    }
    if renoised:
        inputs["next_sigma"] = rng.uniform(0, 1, renoised).astype(np.float32)
        inputs["noise"] = normal(rng, renoised, *shape)
        inputs["noise_given"] = i32(given)
    return inputs


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("advance", "slots"), CASES)
@pytest.mark.parametrize("given", [0, 1])
def test_every_shape(rng: np.random.Generator, shape: tuple[int, ...], advance: str, slots: int, given: int) -> None:
    renoised = {"shift": slots - 1, "stay": slots, "none": 0}[advance]
    x = normal(rng, slots, *shape)
    inputs = draw_inputs(rng, shape, slots, renoised, given)
    first_step = int(rng.integers(0, 4))
    actual = check_op("renoise", inputs, {"x0": x.shape}, {"x": x}, advance=advance, first_step=first_step)
    untouched = {"shift": slice(0, 1), "stay": slice(0, 0), "none": slice(None)}[advance]
    assert np.array_equal(actual["x"][untouched], x[untouched])


def test_slots_of_a_batch_draw_what_single_steps_draw(rng: np.random.Generator) -> None:
    """Row i of a stream batch and step i of a sequential chunk: the same re-noised latents to the bit."""
    shape, slots = (1, 16, 6, 10), 4
    inputs, x = draw_inputs(rng, shape, slots, slots - 1, given=0), normal(rng, slots, *shape)
    batch = check_op("renoise", inputs, {"x0": x.shape}, {"x": x}, advance="shift", first_step=0)
    for step in range(slots - 1):
        one = {name: inputs[name][step : step + 1] for name in ("flow", "sigma", "row_chunk", "next_sigma", "noise")}
        one |= {"seed": inputs["seed"], "noise_given": inputs["noise_given"]}
        row = {"x": x[step : step + 1]}
        single = check_op("renoise", one, {"x0": (1, *shape)}, row, advance="stay", first_step=step)
        assert np.array_equal(single["x"][0], batch["x"][step + 1])
