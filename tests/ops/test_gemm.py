"""gemm against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import check_op, normal

SHAPES = [
    (1, 9, 1),
    (9, 1, 5),
    (3, 5, 7),
    (17, 33, 129),
    (65, 130, 257),
    (512, 48, 40),
    (2, 1536, 256),
    (1560, 64, 1536),
]
PRODUCTION = [(1560, 1536, 1536, "none"), (131, 8960, 1536, "gelu_tanh"), (131, 1536, 8960, "none")]


@pytest.mark.parametrize(("rows", "columns", "depth"), SHAPES)
@pytest.mark.parametrize("activation", ["none", "gelu_tanh"])
def test_small_and_ragged(rng: np.random.Generator, rows: int, columns: int, depth: int, activation: str) -> None:
    check_linear(rng, rows, columns, depth, activation)


@pytest.mark.parametrize(("rows", "columns", "depth", "activation"), PRODUCTION)
def test_production(rng: np.random.Generator, rows: int, columns: int, depth: int, activation: str) -> None:
    check_linear(rng, rows, columns, depth, activation)


def test_the_bias_is_optional(rng: np.random.Generator) -> None:
    inputs = {"x": normal(rng, 9, 31), "weight": normal(rng, 12, 31)}
    check_op("gemm", inputs, {"y": (9, 12)}, activation="none")


def check_linear(rng: np.random.Generator, rows: int, columns: int, depth: int, activation: str) -> None:
    weight = normal(rng, columns, depth) / np.float32(np.sqrt(depth))
    inputs = {"x": normal(rng, rows, depth), "weight": weight, "bias": normal(rng, columns)}
    check_op("gemm", inputs, {"y": (rows, columns)}, activation=activation)
