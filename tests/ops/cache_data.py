"""Keys and values for the ops that place chunks: caches whose sinks resemble a new frame as much as a test says."""

from __future__ import annotations

import numpy as np

from tests.helpers import Arrays, normal


def draw(rng: np.random.Generator, slots: int, capacity: int, tokens: int, heads: int, dim: int) -> Arrays:
    """A new frame k, v [slots, tokens, heads, dim], and caches of NaN for ``capacity`` frames."""
    frame = (slots, tokens, heads, dim)
    caches = np.full((slots, capacity * tokens, heads, dim), np.nan, np.float32)
    return {"k": normal(rng, *frame), "v": normal(rng, *frame), "k_cache": caches, "v_cache": caches.copy()}


def fill_frame(rng: np.random.Generator, data: Arrays, slot: int, frame: int, cosine: float) -> None:
    """Cache frame ``frame`` gets means whose cosines with the new keys and the new values average this."""
    tokens = data["k"].shape[1]
    spread = rng.uniform(-1, 1) * (1 - abs(cosine))
    for role, aim in {"k": cosine + spread, "v": cosine - spread}.items():
        new = data[role][slot].astype(np.float64)
        mean = new.mean(axis=0).reshape(-1)
        other = rng.standard_normal(mean.shape)
        other -= mean * (other @ mean) / (mean @ mean)
        other *= np.linalg.norm(mean) / np.linalg.norm(other)
        wanted = aim * mean + np.sqrt(1 - aim**2) * other
        noise = rng.standard_normal(new.shape)
        values = wanted.reshape(new.shape[1:]) + noise - noise.mean(axis=0)
        data[f"{role}_cache"][slot, frame * tokens : (frame + 1) * tokens] = rng.uniform(0.5, 2) * values
