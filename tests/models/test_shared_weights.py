"""Engines that share weights: a weight is its content, so another model's, or another table, is never taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from penstock.runtime.config import Config
from penstock.runtime.engine import Engine
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import ModelSpec
from penstock.runtime.models.stream import denoising_plan
from penstock.runtime.pack import packed_weights
from penstock.runtime.safetensors_io import TensorInfo
from tests.models.random_dit import RandomDit
from tests.models.test_block_causal import BATCH, TINY, Clip, make_config, run_session

CONFIG = make_config(mode=BATCH, steps=2)


def engine(dit: RandomDit, config: Config = CONFIG, weights_from: Engine | None = None) -> Engine:
    plan = denoising_plan(ModelSpec("random", dit.spec), config)
    return Engine.create(plan, packed_weights(plan, dit), "cpu", 2, weights_from)


def results(engine: Engine, clip: Clip, config: Config = CONFIG) -> list[np.ndarray]:
    return list(run_session(engine.session(), config, clip).values())


def one_weight_changed(dit: RandomDit, rng: np.random.Generator) -> RandomDit:
    """One value in the middle of one matrix."""
    weights = dict(dit.weights)
    name = sorted(name for name in weights if name.endswith("ffn.0.weight"))[int(rng.integers(dit.spec.layers))]
    weights[name] = weights[name].clone()
    weights[name].view(-1)[int(rng.integers(weights[name].numel()))] += 3.0
    return RandomDit(dit.spec, weights)


def stored_as(dit: RandomDit, dtype: torch.dtype) -> RandomDit:
    class Stored(RandomDit):
        def __post_init__(self) -> None:
            keys = {f"dit.{name}": tuple(weight.shape) for name, weight in self.weights.items()}
            self.infos = {key: TensorInfo.of(key, "BF16", shape) for key, shape in keys.items()}

        def raw(self, key: str) -> Any:
            return self.weights[key.removeprefix("dit.")].to(dtype).view(torch.int16).numpy().reshape(-1).view(np.uint8)

    return Stored(dit.spec, dit.weights)


@pytest.mark.parametrize("other", ["the same", "another model", "one value", "rounded to bf16"])
def test_sharing_changes_no_result(rng: np.random.Generator, other: str) -> None:
    first = RandomDit.draw(TINY, rng)
    second = {"the same": lambda: first, "another model": lambda: RandomDit.draw(TINY, rng),
              "one value": lambda: one_weight_changed(first, rng),
              "rounded to bf16": lambda: stored_as(first, torch.bfloat16)}[other]()  # fmt: skip
    clip = Clip.draw(rng, TINY, CONFIG, 4, noise_given=False)
    lender = engine(first)
    before = results(lender, clip)
    expected = results(engine(second), clip)
    actual = results(engine(second, weights_from=lender), clip)
    for values, wanted in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(values, wanted)
    assert (other == "the same") == all(np.array_equal(a, b) for a, b in zip(expected, before, strict=True))
    for values, wanted in zip(results(lender, clip), before, strict=True):
        np.testing.assert_array_equal(values, wanted)


def test_shared_weights_outlive_the_engine_that_loaded_them(rng: np.random.Generator) -> None:
    dit, config = RandomDit.draw(TINY, rng), replace(CONFIG, steps=3)
    clip = Clip.draw(rng, TINY, config, 5, noise_given=False)
    first = engine(dit)
    second = engine(dit, config, first)
    expected = results(engine(dit, config), clip, config)
    del first
    for values, wanted in zip(results(second, clip, config), expected, strict=True):
        np.testing.assert_array_equal(values, wanted)


def test_a_switch_wants_the_weights_of_one_model(rng: np.random.Generator) -> None:
    """Checked in the engine: plans without video phases cannot stream, but `prepare` checks them all the same."""
    dit, config = RandomDit.draw(TINY, rng), replace(CONFIG, steps=3)
    lender = engine(dit)
    lender.session().prepare(engine(dit, config, lender))
    with pytest.raises(PenstockError, match=r"cannot switch: weight 'dit.blocks.[01].ffn.0.weight' is another one"):
        lender.session().prepare(engine(one_weight_changed(dit, rng), config, lender))
