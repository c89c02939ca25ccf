"""time_embed against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import check_op, normal

SHAPES = [(1, 1, 2, 2), (2, 3, 48, 32), (3, 2, 33, 10), (4, 30, 1536, 256)]  # slots, blocks, width, frequencies


@pytest.mark.parametrize(("slots", "blocks", "dim", "frequencies"), SHAPES)
def test_every_shape(rng: np.random.Generator, slots: int, blocks: int, dim: int, frequencies: int) -> None:
    def linear(name: str, rows: int, columns: int) -> dict[str, np.ndarray]:
        weight = normal(rng, rows, columns) / np.float32(np.sqrt(columns))
        return {f"{name}_weight": weight, f"{name}_bias": normal(rng, rows)}

    inputs = {
        "timestep": rng.uniform(0, 1000, slots).astype(np.float32),
        **linear("fc1", dim, frequencies),
        **linear("fc2", dim, dim),
        **linear("proj", 6 * dim, dim),
        "block_tables": normal(rng, blocks, 6, dim),
        "head_table": normal(rng, 2, dim),
    }
    outputs = {"block_modulation": (blocks, 6, slots, dim), "head_modulation": (2, slots, dim)}
    check_op("time_embed", inputs, outputs)
