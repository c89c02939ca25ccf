"""Several configurations of one model on a device: no weight goes there twice, and a switch only copies on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.runtime.engine import query_system

pytestmark = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")


def test_weights_are_uploaded_once(run_with_driver: Callable, mock_driver: Path) -> None:
    script = Path(__file__).with_name("share_on_mock.py")
    result = run_with_driver(str(script), str(mock_driver))
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert seen["left"] == {"live handles": 0, "live allocations": 0, "problems": 0}, result.stderr
    assert seen["equal"] == {"cuMemAlloc": 0, "cuMemcpyHtoDAsync": 0, "cuMemcpyDtoDAsync": 0,
                             "cuStreamBeginCapture": 0, "cuStreamSynchronize": 0}  # fmt: skip
    assert seen["another decoder"]["cuMemAlloc"] == 1 and seen["another decoder"]["cuMemcpyHtoDAsync"] > 10
    # One wait is for the frames of the chunk that was in flight; nothing is allocated or captured.
    switch = seen["switch"]
    assert (switch["cuMemAlloc"], switch["cuStreamBeginCapture"], switch["cuStreamSynchronize"]) == (0, 0, 1)
    layers, slots = 2, 4
    assert switch["cuMemcpyDtoDAsync"] == 4 * layers * slots  # keys, values, and two fields of the ring
    assert switch["cuMemcpyHtoDAsync"] == 12  # step state of its own, and the chunk's number
