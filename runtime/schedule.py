"""Timesteps and noise levels of the few-step flow-matching schedule (spec 2.9, 4.5)."""

from __future__ import annotations

import numpy as np

from .errors import PenstockError

SHIFT = 8.0  # hard-coded by the published code; its YAML key is not read
TRAINING_STEPS = 1000

VIDEO_TO_VIDEO_TIMESTEPS = (700, 500, 400, 200)
TEXT_TO_VIDEO_TIMESTEPS = (1000, 750, 500, 250)
CLEAN_TIMESTEP = 0  # of the pass that writes clean keys and values


def sigma_table() -> tuple[np.ndarray, np.ndarray]:
    """(sigmas, timesteps), float32 [1000]: u = 1 - i/1000, sigma = 8u / (1 + 7u), timestep = 1000 sigma."""
    u = 1.0 - np.arange(TRAINING_STEPS, dtype=np.float64) / TRAINING_STEPS
    sigmas = (SHIFT * u / (1.0 + (SHIFT - 1.0) * u)).astype(np.float32)
    return sigmas, sigmas * np.float32(TRAINING_STEPS)


def sigma_of(timestep: float) -> float:
    """Noise level of a requested timestep: that of the nearest table entry, the first one on a tie."""
    sigmas, timesteps = sigma_table()
    return float(sigmas[np.argmin(np.abs(timesteps - np.float32(timestep)))])


def step_list(steps: int, timesteps: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The first ``steps`` timesteps of the list (default: the video-to-video list 700, 500, 400, 200)."""
    available = VIDEO_TO_VIDEO_TIMESTEPS if timesteps is None else tuple(timesteps)
    if not 1 <= steps <= len(available):
        raise PenstockError(f"steps: expected 1 to {len(available)} (the list {available}), got {steps}")
    if any(type(t) is not int or not 0 < t <= TRAINING_STEPS for t in available):
        raise PenstockError(f"timesteps: expected integers in (0, {TRAINING_STEPS}], got {list(available)}")
    return available[:steps]
