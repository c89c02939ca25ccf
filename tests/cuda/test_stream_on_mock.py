"""Whole plans on the CUDA backend over a driver that checks every call and computes nothing.

Every op finds its kernel, compiled for its shapes, with parameters of the right types and alignment; a phase is one
graph; and a chunk in steady state costs three graph launches, and neither allocation nor a wait but for its frames.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.kernels.nvcc import obstacle
from penstock.runtime.engine import query_system

SIZE = {"height": 64, "width": 96}
CASES = {
    "tiny": {**SIZE, "steps": 2},
    "tiny sequential": {**SIZE, "steps": 2, "mode": "sequential", "history": "per_step", "decoder": "taehv"},
    "tiny published cache": {**SIZE, "steps": 2, "cache_policy": "streamdiffusionv2"},
    "tiny plain": {**SIZE, "steps": 4, "sink_threshold": -1.0, "noise_controller": False, "clean_context": True},
    "taehv both": {**SIZE, "steps": 1, "encoder": "taehv", "decoder": "taehv", "latent_norm": "normalized"},
    "8 bits": {**SIZE, "steps": 2, "width_of": "1.3b", "decoder": "taehv", "precision": "fp8_attention"},
    "8-bit vae": {**SIZE, "steps": 1, "width_of": "1.3b", "precision": "fp8_vae"},
    "8-bit vae of tiny": {**SIZE, "steps": 1, "precision": "fp8_vae"},
    "1.3b": {**SIZE, "steps": 4, "width_of": "1.3b"},
    "14b": {**SIZE, "steps": 1, "width_of": "14b", "decoder": "taehv"},
}
FORMS = ("triton", "cuda", "cuda_ping_pong")
ATTENTION = ("rolling_attention_kernel", "rolling_attention_sm90", "merge_attention_kernel")

pytestmark = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")


@pytest.mark.parametrize("name", CASES)
def test_a_stream(run_with_driver: Callable, mock_driver: Path, name: str) -> None:
    script = Path(__file__).with_name("stream_on_mock.py")
    result = run_with_driver(str(script), str(mock_driver), json.dumps(CASES[name]))
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert seen["left"] == {"live handles": 0, "live allocations": 0, "problems": 0}, result.stderr
    # Encode, denoise, decode; the wait is for the finished frames.
    assert seen["steady"] == {
        "cuMemAlloc": 0, "cuMemHostAlloc": 0, "cuStreamSynchronize": 1, "cuEventSynchronize": 0, "cuGraphLaunch": 3,
        "cuLaunchKernel": 0, "cublasLtMatmul": 0, "cuMemcpyHtoDAsync": 1, "cuMemcpyDtoHAsync": 1,
        "cuModuleLoadData": 0,
    }  # fmt: skip
    assert seen["finished"] == 20
    stats = seen["stats"]
    assert stats["graph_replays"] == stats["phases_run"] > 20
    assert seen["captured"]["cuLaunchKernel"] > 100 and seen["captured"]["cublasLtMatmul"] > 10


@pytest.mark.skipif(obstacle() is not None, reason=f"no CUDA C++ kernels: {obstacle()}")
@pytest.mark.parametrize("wanted", ["", *(f"rolling_attention={name}" for name in FORMS)])
def test_attention_that_is_asked_for(run_with_driver: Callable, mock_driver: Path, wanted: str) -> None:
    script = Path(__file__).with_name("stream_on_mock.py")
    result = run_with_driver(str(script), str(mock_driver), json.dumps(CASES["tiny"]), PENSTOCK_IMPL=wanted)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert seen["left"]["problems"] == 0, result.stderr
    triton, cuda, merge = (seen["captured"][f"launch {name}"] for name in ATTENTION)
    assert merge > 0 and (triton, cuda) == ((0, merge) if "cuda" in wanted else (merge, 0))
    assert seen["captured"]["cuTensorMapEncodeTiled"] == 3 * cuda


@pytest.mark.skipif(obstacle() is not None, reason=f"no CUDA C++ kernels: {obstacle()}")
@pytest.mark.parametrize(("coder", "few"), [("wan", 4 * 3 + 2 * 9), ("taehv", 4 * 3 + 3)])
def test_convolutions_that_are_asked_for(run_with_driver: Callable, mock_driver: Path, coder: str, few: int) -> None:
    """Those of few channels are Triton's in any case: the first of encoder and decoder, the last, and Wan's 1x1x1
    before and behind the latents. A network runs three times: twice in its first phase, once in the other; Wan's first
    and last one, at the full frame rate, for each of the 1 + 4 + 4 frames. TAEHV takes the stream's first frame four
    times."""
    script = Path(__file__).with_name("stream_on_mock.py")
    case = {**SIZE, "steps": 1, "encoder": coder, "decoder": coder, "wide_coders": True}
    case |= {"latent_norm": "normalized"} if coder == "taehv" else {}
    result = run_with_driver(str(script), str(mock_driver), json.dumps(case), PENSTOCK_IMPL="causal_conv3d=cuda")
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert seen["left"]["problems"] == 0, result.stderr
    triton, cuda = (seen["captured"][f"launch {name}"] for name in ("causal_conv3d_kernel", "causal_conv3d_sm90"))
    assert triton == few and cuda > 100
    assert seen["captured"]["cuTensorMapEncodeTiled"] == 2 * cuda


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("rolling_attention=fast", "=fast: rolling_attention has the implementations triton, cuda and cuda_ping_pong"),
        ("attention=triton", "expected a list of op=implementation, got 'attention=triton'"),
        ("rolling_attention", "expected a list of op=implementation, got 'rolling_attention'"),
    ],
)
def test_attention_that_cannot_be_had(run_with_driver: Callable, mock_driver: Path, wanted: str, problem: str) -> None:
    script = Path(__file__).with_name("stream_on_mock.py")
    result = run_with_driver(str(script), str(mock_driver), json.dumps(CASES["tiny"]), PENSTOCK_IMPL=wanted)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith(problem) and "PENSTOCK_IMPL" in result.stderr
