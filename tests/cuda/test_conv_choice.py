"""Which kernel does a convolution, by the rules of csrc/ops/causal_conv3d/choice.h."""

from __future__ import annotations

import ctypes

import pytest

CASES = [
    # architecture, built with nvcc, inputs, outputs, norm, bytes in or out, tiles, asked for -> implementation, why
    (90, True, 96, 96, False, False, 6240, "", "triton: the CUDA kernel has not been verified on a device"),
    (90, True, 96, 96, False, False, 6240, "cuda", "cuda: asked for"),
    (90, True, 96, 96, False, False, 6240, "triton", "triton: asked for"),
    (
        90,
        True,
        3,
        96,
        False,
        False,
        1,
        "cuda",
        "triton: a copy by TMA takes 32 input channels, and padding would be waste",
    ),
    (
        90,
        True,
        16,
        384,
        False,
        False,
        1,
        "",
        "triton: a copy by TMA takes 32 input channels, and padding would be waste",
    ),
    (
        90,
        True,
        384,
        32,
        False,
        False,
        0,
        "cuda",
        "triton: output channels in multiples of 64 or 96 fill a wgmma exactly",
    ),
    (90, True, 96, 3, False, False, 0, "", "triton: output channels in multiples of 64 or 96 fill a wgmma exactly"),
    (90, True, 96, 96, False, False, 1 << 31, "cuda", "triton: the CUDA kernel counts its tiles in 32 bits"),
    (90, True, 96, 192, True, False, 1, "cuda", "cuda: asked for"),
    (90, True, 96, 384, True, False, 1, "cuda", "triton: a norm needs all channels of a pixel in one tile"),
    (90, True, 96, 96, True, True, 1, "cuda", "triton: the CUDA kernel reads and writes bf16 alone"),
    (80, True, 96, 96, False, False, 1, "", "triton: the CUDA kernel is for Hopper (sm_90) alone"),
    (100, True, 96, 96, False, False, 1, "cuda", ": the CUDA kernel is for Hopper (sm_90) alone"),
    (90, False, 96, 96, False, False, 1, "", "triton: this build has no CUDA C++ kernels (nvcc was missing)"),
    (90, False, 96, 96, False, False, 1, "cuda", ": this build has no CUDA C++ kernels (nvcc was missing)"),
    (90, True, 96, 96, False, False, 1, "cudnn", ": causal_conv3d has the implementations triton and cuda"),
]


@pytest.mark.parametrize(("architecture", "built", "inputs", "outputs", "has_norm", "has_bytes", "tiles", "wanted",
                          "expected"), CASES)  # fmt: skip
def test_choice(convolution: ctypes.CDLL, architecture: int, built: bool, inputs: int, outputs: int,
                has_norm: bool, has_bytes: bool, tiles: int, wanted: str, expected: str) -> None:  # fmt: skip
    choice = convolution.choose_convolution(
        architecture,
        built,
        ctypes.c_int64(inputs),
        ctypes.c_int64(outputs),
        has_norm,
        has_bytes,
        ctypes.c_int64(tiles),
        wanted.encode(),
    )
    assert choice.decode() == expected
