"""Rotary position table of the 3-D RoPE (spec 4.4)."""

from __future__ import annotations

import numpy as np

POSITIONS = 1024  # per axis, as published
THETA = 10000.0


def axis_pairs(head_dim: int) -> tuple[int, int, int]:
    """Complex pairs per head of the temporal, row and column axis: (22, 21, 21) for a head of 128."""
    spatial = head_dim // 6
    return head_dim // 2 - 2 * spatial, spatial, spatial


def rope_table(head_dim: int) -> np.ndarray:
    """float32 [POSITIONS, head_dim]: per position and pair (cos, sin), pairs in the order temporal, row, column.

    Row p holds the angle of position p on each pair's own axis: p * theta^(-2j / (2 * pairs of the axis)). Built in
    float64, so that rounding to float32 is the only error.
    """
    frequencies = np.concatenate([THETA ** (-np.arange(pairs) / pairs) for pairs in axis_pairs(head_dim)])
    angles = np.arange(POSITIONS)[:, None] * frequencies[None, :]
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(POSITIONS, head_dim).astype(np.float32)
