"""Timesteps, noise levels, positions and ring writes of a stream, against the published traces (spec 2.9, 9.1, 9.2)."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.runtime.config import Config
from penstock.runtime.dit_spec import DitSpec
from penstock.runtime.engine import Session
from penstock.runtime.errors import PenstockError
from penstock.runtime.schedule import sigma_of, sigma_table, step_list
from tests.models.random_dit import RandomDit, prompt

# timestep: (index of the nearest table entry, sigma), spec 9.2
SIGMAS = {
    1000: (0, 1.0000000), 750: (727, 0.7502577), 700: (774, 0.7002324), 690: (782, 0.6904197), 680: (790, 0.6801620),
    670: (798, 0.6694283), 660: (805, 0.6596195), 650: (812, 0.6493955), 640: (818, 0.6402814), 630: (825, 0.6292135),
    620: (831, 0.6193312), 610: (836, 0.6108007), 600: (842, 0.6001900), 500: (889, 0.4997186), 400: (923, 0.4002599),
    250: (960, 0.2500000), 200: (970, 0.1983471), 0: (999, 0.0079444),
}  # fmt: skip
SIGMA_ATOL = 1.3e-7  # the published table is float32 arithmetic, off the exact values by up to 1.2e-7
CALLS = 10
WRITES = [2, 3, 4, 5, 3, 4, 5, 3, 4, 5]  # spec 9.1, T1 (threshold -1), slot 0
LENGTHS = [3, 4, 5, 6, 6, 6, 6, 6, 6, 6]
POSITIONS = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
CHUNKS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
SPEC = DitSpec(dim=12, ffn_dim=8, heads=1, layers=2, text_len=4, text_dim=4, freq_dim=4)


@pytest.mark.parametrize(("timestep", "entry"), SIGMAS.items())
def test_sigma_table(timestep: int, entry: tuple[int, float]) -> None:
    index, sigma = entry
    sigmas, timesteps = sigma_table()
    assert sigmas.shape == timesteps.shape == (1000,)
    assert sigma_of(timestep) == sigmas[index]
    assert sigma_of(timestep) == pytest.approx(sigma, abs=SIGMA_ATOL)


def test_step_lists() -> None:
    assert [step_list(steps) for steps in (1, 2, 3, 4)] == [(700,), (700, 500), (700, 500, 400), (700, 500, 400, 200)]
    assert step_list(2, (1000, 750, 500, 250)) == (1000, 750)


@pytest.mark.parametrize(("steps", "timesteps"), [(0, None), (5, None), (3, (700, 500)), (1, (0,)), (1, (1001,))])
def test_step_lists_that_do_not_exist(steps: int, timesteps: tuple[int, ...] | None) -> None:
    with pytest.raises(PenstockError, match="steps"):
        step_list(steps, timesteps)


def small_session(rng: np.random.Generator, **fields: object) -> Session:
    session = RandomDit.draw(SPEC, rng).engine(Config(height=16, width=32, sink_threshold=-1.0, **fields)).session()
    session.set_prompt(prompt(SPEC, 2, rng))
    return session


def trace(session: Session, field: str) -> list[list[int]]:
    """Values of a step-state field by slot, over CALLS calls after the first chunk; alike in all layers."""
    calls = []
    session.run("denoise_first")
    for _ in range(CALLS):
        session.run("denoise")
        values = np.atleast_2d(session.read(field))
        assert (values == values[0]).all(), "layers differ"
        calls.append(values[0])
    return np.stack(calls, axis=1).tolist()


@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize(
    ("field", "expected"),
    [("ring_write", WRITES), ("ring_length", LENGTHS), ("frame_position", POSITIONS), ("row_chunk", CHUNKS)],
)
def test_a_slot_does_what_the_one_before_did_a_call_ago(
    rng: np.random.Generator, slots: int, field: str, expected: list[int]
) -> None:
    by_slot = trace(small_session(rng, steps=slots), field)
    assert by_slot == [(expected[:1] * slot + expected)[:CALLS] for slot in range(slots)]


@pytest.mark.parametrize("history", ["shared", "per_step"])
def test_all_passes_of_a_sequential_chunk_share_one_write(rng: np.random.Generator, history: str) -> None:
    session = small_session(rng, steps=3, mode="sequential", history=history)
    assert trace(session, "ring_write") == [WRITES]


def test_positions_of_a_long_stream(rng: np.random.Generator) -> None:
    """Spec 9.4: ... 48, 49, 5, 6, ..., 49, 5; never an end. The last slot lags by one call."""
    session = small_session(rng, steps=2)
    session.run("denoise_first")
    positions = []
    for _ in range(150):
        session.run("denoise")
        positions.append(session.read("frame_position"))
    expected = [*range(2, 50), *range(5, 50), *range(5, 50), *range(5, 17)]
    assert [place[0] for place in positions] == expected
    assert [place[1] for place in positions] == [2, *expected[:-1]]


def test_the_first_chunk_and_a_second_stream(rng: np.random.Generator) -> None:
    """The first chunk starts a stream anew, whatever came before it."""
    session = small_session(rng, steps=2)
    assert trace(session, "ring_write") == trace(session, "ring_write")
    session.run("denoise_first")
    assert not session.read("frame_position").any()
    assert not session.read("ring_write").any()
    assert (session.read("ring_length") == 2).all()
    assert session.read("chunk") == 0


def test_the_step_state_starts_with_the_schedule(rng: np.random.Generator) -> None:
    session = small_session(rng, steps=4)
    assert session.read("timestep").tolist() == [700, 500, 400, 200]
    assert session.read("sigma") == pytest.approx([SIGMAS[t][1] for t in (700, 500, 400, 200)], abs=SIGMA_ATOL)
    assert session.read("noise_scale") == pytest.approx(0.8)
