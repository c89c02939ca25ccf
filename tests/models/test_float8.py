"""8-bit floats of weights: codes against torch's float8_e4m3fn, and their scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.runtime.errors import PenstockError
from penstock.runtime.float8 import e4m3_codes, e4m3_scale
from penstock.runtime.pack import CodedKernel, NormScale, SumScale
from tests.helpers import normal
from tests.models.test_pack import TORCH_DTYPES, Weights, pack


def test_codes_are_the_nearest() -> None:
    """All codes, all middles between two, which are ties, and their neighbours among the float32."""
    codes = np.arange(127, dtype=np.uint8)
    values = torch.from_numpy(codes).view(torch.float8_e4m3fn).float().numpy()
    middles = (values[1:] + values[:-1]) / 2
    near = np.concatenate([np.nextafter(middles, way).astype(np.float32) for way in (-1000, 1000)])
    drawn = np.concatenate([values, middles, near])
    drawn = np.concatenate([drawn, -drawn])
    expected = torch.from_numpy(drawn).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    assert np.array_equal(e4m3_codes(drawn), expected)


def test_scales_are_the_smallest_powers_of_two() -> None:
    largest = np.array([448, np.nextafter(np.float32(448), np.float32(500)), 1, 0.875, 3e-4, 0, 1e-30], np.float32)
    assert e4m3_scale(largest).tolist() == [1, 2, 2.0**-8, 2.0**-9, 2.0**-20, 2.0**-60, 2.0**-60]


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_a_packed_kernel_is_what_it_stands_for(rng: np.random.Generator, dtype: str) -> None:
    kernel = torch.from_numpy(normal(rng, 5, 4, 3, 1, 2) * np.exp(3 * normal(rng, 5, 1, 1, 1, 1)))
    kernel, gamma = (values.to(TORCH_DTYPES[dtype]) for values in (kernel, torch.from_numpy(normal(rng, 4))))
    bits = {name: v.view(torch.int16).numpy().view(np.uint16) if dtype == "BF16" else v.numpy()
            for name, v in {"k": kernel, "g": gamma}.items()}  # fmt: skip
    weights = Weights(dtype, **bits)
    codes = pack(CodedKernel("k"), (5, 3, 1, 2, 4), weights)
    scales = [pack(source, shape, weights).bytes().view(np.float32)
              for source, shape in ((SumScale("k", "g"), (5,)), (NormScale("g"), (1,)))]  # fmt: skip
    assert codes.dtype == "u8" and scales[1] == e4m3_scale(2 * gamma.float().abs().max().numpy())
    decoded = torch.from_numpy(codes.bytes().copy()).view(torch.float8_e4m3fn).double().view(5, 3, 1, 2, 4)
    decoded *= torch.from_numpy(scales[0] / scales[1]).double()[:, None, None, None, None]
    exact = kernel.double().permute(0, 2, 3, 4, 1)
    largest = exact.abs().amax((1, 2, 3, 4), keepdim=True)
    assert ((decoded - exact).abs() <= torch.maximum(exact.abs() / 16, largest * 2.0**-17)).all()


@pytest.mark.parametrize(("source", "key"), [(CodedKernel("k"), "k"), (SumScale("k", "g"), "g"), (NormScale("g"), "g")])
def test_what_no_scale_fits_is_an_error(source: CodedKernel | SumScale | NormScale, key: str) -> None:
    arrays = {"k": np.ones((2, 1, 1, 1, 1), np.float32), "g": np.ones(1, np.float32)}
    arrays[key].reshape(-1)[0] = np.inf
    shape = {CodedKernel: (2, 1, 1, 1, 1), SumScale: (2,), NormScale: (1,)}[type(source)]
    with pytest.raises(PenstockError, match=f"tensor '{key}': expected finite numbers for 8-bit floats"):
        pack(source, shape, Weights("F32", **arrays))


def test_another_shape_is_an_error() -> None:
    with pytest.raises(PenstockError, match=r"weight 'w': expected \[3\], got \[2\]"):
        pack(SumScale("k", "g"), (3,), Weights("F32", k=np.ones((2, 1, 1), np.float32), g=np.ones(1, np.float32)))
