"""A model directory with random weights of the tiny preset, and clips for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from penstock.models import Model, load
from penstock.runtime.synth import synth

SIZE = (48, 64)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("tiny")
    synth("tiny", folder, seed=11, dtype="fp32")
    return load(folder)


@pytest.fixture(scope="session")
def model_path(model: Model) -> Path:
    return model.directory.path


def random_clip(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Smooth frames uint8 [n, *SIZE, 3] with some motion."""
    height, width = SIZE
    picture = rng.integers(0, 256, (height // 8, width // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    clip = [np.roll(picture, (2 * index, 3 * index), axis=(0, 1)) for index in range(frames)]
    return np.stack(clip).astype(np.uint8)
