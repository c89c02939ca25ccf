"""The time_embed kernels against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels.time_embed import time_embed
from tests.helpers import normal
from tests.kernels.check import check_kernel, every_dtype

SHAPES = [(1, 1, 16, 4), (2, 3, 37, 32), (3, 17, 24, 16), (9, 2, 16, 256)]  # slots, blocks, width, frequencies


@every_dtype
@pytest.mark.parametrize(("slots", "blocks", "d", "frequencies"), SHAPES)
def test_every_shape(
    rng: np.random.Generator, dtype: torch.dtype, slots: int, blocks: int, d: int, frequencies: int
) -> None:
    timesteps = rng.uniform(0, 1000, slots)
    timesteps[0] = 1000.0  # the most turns, where angles of float32 are wrong by 1e-4
    check_timesteps(rng, dtype, timesteps.astype(np.float32), blocks, d, frequencies)


def test_quarter_turns(rng: np.random.Generator) -> None:
    """The first frequency is 1: timesteps at and around the quarters of a turn."""
    quarters = np.arange(0, 9, dtype=np.float32) * np.float32(np.pi / 4)
    check_timesteps(rng, torch.float32, quarters, 1, 16, 4)


def check_timesteps(
    rng: np.random.Generator, dtype: torch.dtype, timesteps: np.ndarray, blocks: int, d: int, frequencies: int
) -> None:
    def linear(name: str, rows: int, columns: int) -> dict[str, np.ndarray]:
        weight = normal(rng, rows, columns) / np.float32(np.sqrt(columns))
        return {f"{name}_weight": weight, f"{name}_bias": normal(rng, rows)}

    inputs = {
        "timestep": timesteps,
        **linear("fc1", d, frequencies),
        **linear("fc2", d, d),
        **linear("proj", 6 * d, d),
        "block_tables": normal(rng, blocks, 6, d),
        "head_table": normal(rng, 2, d),
    }
    slots = len(timesteps)
    outputs = {"block_modulation": (blocks, 6, slots, d), "head_modulation": (2, slots, d)}
    check_kernel(time_embed, dtype, inputs, outputs)
