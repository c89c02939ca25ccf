"""DiTs with random weights in memory, and engines over them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from penstock.runtime.config import Config
from penstock.runtime.dit_spec import DitSpec, dit_parameters
from penstock.runtime.engine import Engine
from penstock.runtime.model import ModelSpec
from penstock.runtime.models.stream import denoising_plan
from penstock.runtime.pack import packed_weights
from penstock.runtime.safetensors_io import TensorInfo


@dataclass
class RandomDit:
    """Weights by Wan name, float32; stands in for the WeightSet of a model directory.

    Linear layers keep the scale of their input. Biases, modulation tables and norm weights are large enough for every
    one of them to show in the result.
    """

    spec: DitSpec
    weights: dict[str, Tensor]
    infos: dict[str, TensorInfo] = field(init=False)

    def __post_init__(self) -> None:
        keys = {f"dit.{name}": tuple(weight.shape) for name, weight in self.weights.items()}
        self.infos = {key: TensorInfo.of(key, "F32", shape) for key, shape in keys.items()}

    @classmethod
    def draw(cls, spec: DitSpec, rng: np.random.Generator) -> RandomDit:
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        weights = {}
        for name, shape in dit_parameters(spec).items():
            values = torch.randn(shape, generator=generator)
            if len(shape) > 1 and "modulation" not in name:
                weights[name] = values / math.sqrt(math.prod(shape[1:]))
            else:
                weights[name] = 0.2 * values + ("norm" in name and name.endswith("weight"))
        return cls(spec, weights)

    def raw(self, key: str) -> np.ndarray:
        return self.weights[key.removeprefix("dit.")].numpy().reshape(-1).view(np.uint8)

    def engine(self, config: Config, threads: int = 2) -> Engine:
        plan = denoising_plan(ModelSpec("random", self.spec), config)
        return Engine.create(plan, packed_weights(plan, self), device="cpu", threads=threads)


def prompt(spec: DitSpec, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Random embeddings [rows, text_dim]."""
    return rng.standard_normal((rows, spec.text_dim), dtype=np.float32)
