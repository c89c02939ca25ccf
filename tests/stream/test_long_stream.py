"""A stream of 2,000 chunks: flat memory, positions that begin again, finite output."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from penstock.models import Model

CHUNKS = 2000  # after the first one
SETTLED = 200  # chunks after which nothing more should be allocated
MOST_GROWTH = 4 << 20  # bytes; one session of this size holds 30 MB


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def golden_positions(count: int) -> list[int]:
    """Positions of chunks 1, 2, ...: 2 ... 49, then 5 ... 49 again and again (spec 9.4)."""
    positions = list(range(2, 50))
    while len(positions) < count:
        positions += range(5, 50)
    return positions[:count]


@pytest.mark.parametrize("fields", [{"mode": "stream_batch", "steps": 2}], ids=["stream_batch"])
def test_two_thousand_chunks(model: Model, rng: np.random.Generator, fields: dict) -> None:
    texture = rng.integers(0, 256, (16, 32, 3), np.uint8)
    positions, settled = [], 0
    with model.session("a river", height=16, width=32, device="cpu", threads=1, **fields) as session:
        session.push(np.stack([texture] * 5))
        for chunk in range(1, CHUNKS + 1):
            frames = np.stack([np.roll(texture, chunk + frame, axis=1) for frame in range(4)])
            finished = session.push(frames)
            assert len(finished) == (4 if chunk > 1 else 0)
            positions.append(int(session._core.read("frame_position")[0]))
            if chunk == SETTLED:
                settled = resident_bytes()
        growth = resident_bytes() - settled
        assert len(session.flush()) == 4 and finished.std() > 5
        assert np.isfinite(session._core.read("x0")).all() and np.isfinite(session._core.read("decoded")).all()
        assert session.stats()["chunks"] == CHUNKS + 1
    print(f"resident memory grew by {growth / 2**20:.2f} MiB from chunk {SETTLED} to {CHUNKS}")
    assert positions == golden_positions(CHUNKS)
    assert growth < MOST_GROWTH
