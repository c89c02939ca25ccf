"""The kernels of causal_conv3d and rms_silu on frames in 8-bit floats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from penstock.kernels.causal_conv3d import causal_conv3d
from penstock.kernels.rms_silu import rms_silu
from tests.helpers import F32_ROLES, Arrays
from tests.kernels.check import Tensors, every_dtype, poison, run_kernel, tensors_of
from tests.ops.coded_frames import CONVOLUTIONS, check_convolution, check_norm, draw_convolution, draw_norm, poisoned
from tests.ops.test_causal_conv3d import LAYERS


def placed(inputs: Arrays, dtype: torch.dtype) -> Tensors:
    scales = {role: values for role, values in inputs.items() if role in F32_ROLES}
    return tensors_of({role: v for role, v in inputs.items() if role not in scales}, dtype) | tensors_of(scales)


def arrays_of(tensors: Tensors) -> Arrays:
    return {role: (v.float() if v.is_floating_point() else v).numpy() for role, v in tensors.items()}


@every_dtype
@pytest.mark.parametrize(("name", "channels", "x_codes", "y_codes", "has_norm", "has_raw"),
                         [case for case in CONVOLUTIONS if case[1] != (32, 150)])  # fmt: skip
def test_convolutions(rng: np.random.Generator, dtype: torch.dtype, name: str, channels: tuple[int, int],
                      x_codes: bool, y_codes: bool, has_norm: bool, has_raw: bool) -> None:  # fmt: skip
    layer = LAYERS[name]
    inputs, y_shape, raw_frames = draw_convolution(rng, layer, channels, x_codes, y_codes, has_norm, has_raw)
    y = torch.from_numpy(poisoned(y_shape, y_codes))
    outputs = {"y": y if y_codes else y.to(dtype)}
    if raw_frames:
        outputs["raw"] = poison((raw_frames, *y_shape[1:]), dtype)
    result = run_kernel(causal_conv3d, placed(inputs, dtype), outputs, frames=2, activation="silu",
                        **layer.attributes)  # fmt: skip
    check_convolution(layer, inputs, arrays_of(result), raw_frames, "silu", dtype)


@every_dtype
@pytest.mark.parametrize("shape", [(4, 1, 1, 1), (4, 3, 5, 24), (4, 2, 3, 600)])
def test_norms(rng: np.random.Generator, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    inputs = draw_norm(rng, shape)
    y = torch.from_numpy(poisoned((5, *shape[1:]), True))
    result = run_kernel(rms_silu, placed(inputs, dtype), {"y": y}, frames=3, activation="silu")
    check_norm(inputs, result["y"].numpy(), 3, dtype)


def test_products_take_32_channels_at_a_time() -> None:
    x, weight = (torch.zeros(shape, dtype=torch.uint8) for shape in ((1, 1, 1, 48), (32, 1, 1, 1, 48)))
    with pytest.raises(ValueError, match="codes of 48 channels, but products of 8 bits take 32 at a time"):
        causal_conv3d(x, weight, torch.zeros(1, 1, 1, 32), 1, sum_scale=torch.ones(32))
