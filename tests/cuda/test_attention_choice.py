"""Which attention kernel runs, by the rules of csrc/ops/rolling_attention/choice.h."""

from __future__ import annotations

import ctypes

import pytest

CASES = [
    # architecture, head_dim, built with nvcc, asked for -> implementation, why
    (90, 128, True, "", "triton: the CUDA kernel has not been verified on a device"),
    (90, 128, True, "cuda", "cuda: asked for"),
    (90, 128, True, "cuda_ping_pong", "cuda_ping_pong: asked for"),
    (90, 128, True, "triton", "triton: asked for"),
    (80, 128, True, "", "triton: the CUDA kernel is for Hopper (sm_90) alone"),
    (100, 128, True, "cuda", ": the CUDA kernel is for Hopper (sm_90) alone"),
    (90, 64, True, "", "triton: the CUDA kernel is for heads of 128 alone"),
    (90, 64, True, "cuda", ": the CUDA kernel is for heads of 128 alone"),
    (89, 128, True, "cuda_ping_pong", ": the CUDA kernel is for Hopper (sm_90) alone"),
    (90, 128, False, "", "triton: this build has no CUDA C++ kernels (nvcc was missing)"),
    (90, 128, False, "cuda", ": this build has no CUDA C++ kernels (nvcc was missing)"),
    (90, 128, True, "gluon", ": rolling_attention has the implementations triton, cuda and cuda_ping_pong"),
]


@pytest.mark.parametrize(("architecture", "head_dim", "built", "wanted", "expected"), CASES)
def test_choice(attention: ctypes.CDLL, architecture: int, head_dim: int, built: bool, wanted: str,
                expected: str) -> None:  # fmt: skip
    choice = attention.choose_implementation(architecture, head_dim, built, wanted.encode())
    assert choice.decode() == expected
