"""Packing of a checkpoint's tensors into the weights of a plan, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels import reference_vae
from penstock.runtime.errors import PenstockError
from penstock.runtime.pack import ConvKernel, Packed, PackedWeight, WeightSource, packed_weights
from penstock.runtime.plan import PlanBuilder
from penstock.runtime.safetensors_io import TensorInfo
from tests.helpers import relative_l2

DTYPES = {"F32": np.float32, "BF16": np.uint16, "F16": np.float16}
TORCH_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


class Weights:
    """Named arrays as the WeightSet of a model directory."""

    def __init__(self, dtype: str, **arrays: np.ndarray):
        self.arrays = arrays
        self.infos = {name: TensorInfo.of(name, dtype, values.shape) for name, values in arrays.items()}

    def raw(self, key: str) -> np.ndarray:
        raw = self.arrays[key].reshape(-1).view(np.uint8)
        raw.flags.writeable = False
        return raw


def random_bits(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Any bits, NaNs included."""
    size = np.dtype(DTYPES[dtype]).itemsize
    return rng.integers(0, 256, (*shape, size), dtype=np.uint8).view(f"u{size}")[..., 0]


def pack(source: WeightSource, shape: tuple[int, ...], weights: Weights) -> PackedWeight:
    plan = PlanBuilder("pack", {})
    plan.weight("w", shape, source)
    (weight,) = packed_weights(plan.finish(), weights)
    assert (weight.name, weight.shape) == ("w", shape)
    return weight


def assert_bits(weight: PackedWeight, dtype: str, expected: np.ndarray) -> None:
    assert weight.dtype == dtype.lower()
    assert weight.bytes().dtype == np.uint8 and weight.bytes().ndim == 1
    assert weight.bytes().tobytes() == expected.tobytes()


@each_dtype
def test_channels_go_last(rng: np.random.Generator, dtype: str) -> None:
    kernel = random_bits(rng, dtype, (5, 4, 3, 2, 7))
    weight = pack(ConvKernel("k"), (5, 3, 2, 7, 4), Weights(dtype, k=kernel))
    assert_bits(weight, dtype, kernel.transpose(0, 2, 3, 4, 1))


@each_dtype
def test_a_picture_kernel_has_one_frame(rng: np.random.Generator, dtype: str) -> None:
    kernel = random_bits(rng, dtype, (5, 4, 3, 7))
    weight = pack(ConvKernel("k"), (5, 1, 3, 7, 4), Weights(dtype, k=kernel))
    assert_bits(weight, dtype, kernel.transpose(0, 2, 3, 1))


@each_dtype
def test_stacked_frames_become_taps(rng: np.random.Generator, dtype: str) -> None:
    """taps (1, 0): the older frame is the second one of the stack."""
    kernel = random_bits(rng, dtype, (5, 8, 3, 7))
    weight = pack(ConvKernel("k", taps=(1, 0)), (5, 2, 3, 7, 4), Weights(dtype, k=kernel))
    taps = np.stack([kernel[:, 4:], kernel[:, :4]], axis=1)
    assert_bits(weight, dtype, taps.transpose(0, 1, 3, 4, 2))


@pytest.mark.parametrize("kernel", [(1, 3, 3), (2, 5, 1), (1, 1, 3)])
@each_dtype
def test_a_doubled_picture_takes_four_kernels(
    rng: np.random.Generator, dtype: str, kernel: tuple[int, int, int]
) -> None:
    """They make what the published kernel makes of the doubled picture (torch, float64), up to the rounding of sums."""
    published = torch.from_numpy(rng.standard_normal((5, 4, *kernel))).to(TORCH_DTYPES[dtype])
    bits = published.view(torch.uint16).numpy() if dtype == "BF16" else published.numpy()
    sides = [(side + 1) // 2 for side in kernel[1:]]
    weight = pack(ConvKernel("k", doubled=True), (20, kernel[0], *sides, 4), Weights(dtype, k=bits))
    assert weight.dtype == "f32"
    kernels = torch.from_numpy(weight.bytes().view(np.float32).reshape(weight.shape)).double()

    clip = torch.from_numpy(rng.standard_normal((3, 4, 7, 4)))
    doubled = torch.nn.functional.interpolate(clip.permute(3, 0, 1, 2)[None], scale_factor=(1, 2, 2), mode="nearest")
    padding = (0, kernel[1] // 2, kernel[2] // 2)
    expected = torch.nn.functional.conv3d(doubled, published.double(), padding=padding)[0].permute(1, 2, 3, 0)
    actual = reference_vae.convolve(clip, kernels, None, stride=1, upsample=2, time_stride=1, interleave=1)
    assert relative_l2(actual, expected) < 1e-7


@each_dtype
def test_first_rows_alone(rng: np.random.Generator, dtype: str) -> None:
    weights = Weights(dtype, k=random_bits(rng, dtype, (5, 4, 1, 3, 3)), b=random_bits(rng, dtype, (5,)))
    kernel = pack(ConvKernel("k", rows=2), (2, 1, 3, 3, 4), weights)
    assert_bits(kernel, dtype, weights.arrays["k"][:2].transpose(0, 2, 3, 4, 1))
    assert_bits(pack(Packed(("b",), rows=2), (2,), weights), dtype, weights.arrays["b"][:2])
    both = pack(Packed(("b", "b"), rows=2), (4,), weights)
    assert_bits(both, dtype, np.concatenate([weights.arrays["b"][:2]] * 2))


BAD = {
    "other channels": (ConvKernel("k"), (5, 1, 3, 3, 3)),
    "same size, other order": (ConvKernel("k"), (5, 4, 1, 3, 3)),
    "too many rows": (ConvKernel("k", rows=6), (6, 1, 3, 3, 4)),
    "channels not divisible": (ConvKernel("k", taps=(0, 1, 2)), (5, 3, 3, 3, 1)),
    "too many rows of a vector": (Packed(("k",), rows=6), (6, 1, 3, 3, 4)),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_mismatches_are_named(case: tuple[WeightSource, tuple[int, ...]]) -> None:
    source, shape = case
    with pytest.raises(PenstockError, match=r"weight 'w': expected \[.*\], got k \[5, 4, 1, 3, 3\]"):
        pack(source, shape, Weights("F32", k=np.zeros((5, 4, 1, 3, 3), np.float32)))
