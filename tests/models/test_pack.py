"""Packing of a checkpoint's tensors into the weights of a plan, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from penstock.runtime.pack import ConvKernel, Packed, PackedWeight, WeightSource, packed_weights
from penstock.runtime.plan import PlanBuilder
from penstock.runtime.safetensors_io import TensorInfo

DTYPES = {"F32": np.float32, "BF16": np.uint16, "F16": np.float16}
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
