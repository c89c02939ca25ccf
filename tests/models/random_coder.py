"""Video autoencoders with random weights in memory, and streams of frames and latents through their engines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from penstock.runtime.engine import Engine, Session
from penstock.runtime.models.frame_network import CoderSize
from penstock.runtime.pack import packed_weights
from penstock.runtime.plan import Plan
from penstock.runtime.safetensors_io import TensorInfo


@dataclass
class RandomCoder:
    """Weights by their original names, float32; stands in for the WeightSet of a model directory.

    ``model``: the component that they belong to, "vae" or "taehv".
    """

    model: str
    weights: dict[str, Tensor]
    infos: dict[str, TensorInfo] = field(init=False)

    def __post_init__(self) -> None:
        keys = {f"{self.model}.{name}": tuple(weight.shape) for name, weight in self.weights.items()}
        self.infos = {key: TensorInfo.of(key, "F32", shape) for key, shape in keys.items()}

    @classmethod
    def draw(cls, model: str, shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> RandomCoder:
        """Convolutions keep the scale of their input; biases and gammas are large enough for each of them to show."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        weights = {}
        for name, shape in shapes.items():
            values = torch.randn(shape, generator=generator)
            kind = name.rpartition(".")[2]
            scale = 1 / math.sqrt(math.prod(shape[1:])) if kind == "weight" else 0.2
            weights[name] = scale * values + (kind == "gamma")
        return cls(model, weights)

    def raw(self, key: str) -> np.ndarray:
        return self.weights[key.removeprefix(f"{self.model}.")].numpy().reshape(-1).view(np.uint8)

    def session(self, plan: Plan, threads: int = 2, device: str = "cpu") -> Session:
        return Engine.create(plan, packed_weights(plan, self), device=device, threads=threads).session()


def encode_stream(session: Session, frames: np.ndarray) -> np.ndarray:
    """Latents [F, z, y, x] of uint8 frames [T, Y, X, 3], chunk by chunk, the latents poisoned before."""
    return np.concatenate([_run(session, "encode", suffix, {"frames": chunk}, {"latents": np.nan})["latents"]
                           for suffix, chunk in _chunks(session, "frames", frames)])  # fmt: skip


def decode_stream(session: Session, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 frames [T, Y, X, 3] and the floats before them; both are poisoned before every chunk."""
    outputs = [_run(session, "decode", suffix, {"latents": chunk}, {"video": 0xA5, "decoded": np.nan})
               for suffix, chunk in _chunks(session, "latents", latents)]  # fmt: skip
    return tuple(np.concatenate([output[name] for output in outputs]) for name in ("video", "decoded"))


def _chunks(session: Session, name: str, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    first, later = (session.engine.tensor_info(f"{name}{suffix}").shape[0] for suffix in ("_first", ""))
    assert len(values) >= first and (len(values) - first) % later == 0
    starts = range(first, len(values), later)
    return [("_first", values[:first]), *(("", values[start : start + later]) for start in starts)]


def _run(session: Session, phase: str, suffix: str, inputs: Mapping[str, np.ndarray],
         outputs: Mapping[str, float]) -> dict[str, np.ndarray]:  # fmt: skip
    for name, values in inputs.items():
        session.write(f"{name}{suffix}", values)
    for name, poison in outputs.items():
        session.write(f"{name}{suffix}", np.full(session.engine.tensor_info(f"{name}{suffix}").shape, poison))
    session.run(f"{phase}{suffix}")
    return {name: session.read(f"{name}{suffix}") for name in outputs}


def latent_count(size: CoderSize, chunks: int) -> int:
    """Latents of a stream of the first chunk and ``chunks`` later ones."""
    return size.first_latents + chunks * size.chunk_latents


def random_frames(rng: np.random.Generator, count: int, picture: tuple[int, int]) -> np.ndarray:
    """uint8 [count, Y, X, 3]."""
    return rng.integers(0, 256, (count, *picture, 3), dtype=np.uint8)


def assert_rounded(video: np.ndarray, values: np.ndarray) -> None:
    """``video`` is ``values`` (0 to 255) rounded, but for what the values themselves may be off."""
    assert video.dtype == np.uint8 and video.shape == values.shape
    assert np.abs(video - values.astype(np.float64)).max() <= 0.5 + 2e-3


def assert_reset_starts_afresh(session: Session, rng: np.random.Generator, size: CoderSize) -> None:
    """The same clip gives the same bits before and after another one, encoded and decoded, with resets between."""
    clip, other = random_frames(rng, 17, size.picture), random_frames(rng, 9, size.picture)
    runs = []
    for frames in (clip, other, clip):
        latents = encode_stream(session, frames)
        runs.append([latents, *decode_stream(session, latents)])
        session.reset()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(runs[0], runs[2], strict=True))
