"""Fixtures of all tests."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch

# Read when triton is imported, which other packages do. The commands that compile kernels set it back.
os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")

SEED_VARIABLE = "PENSTOCK_TEST_SEED"
SEED = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator of the test's own, from a seed that is fresh in every run and printed when the test fails."""
    print(f"replay with {SEED_VARIABLE}={SEED}")
    return np.random.default_rng([SEED, zlib.crc32(request.node.nodeid.encode())])


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """For references of tiny tensors: with more threads torch mostly waits for them, on a busy machine ten times as
    long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
