"""Random weights of a plan in no time, for measuring: every tensor is cut from one block of normal numbers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import prod

import numpy as np

from penstock.runtime.float8 import e4m3_codes
from penstock.runtime.pack import CodedKernel, Constant, NormScale, PackedWeight, SumScale
from penstock.runtime.plan import Plan, Tensor
from penstock.runtime.safetensors_io import float32_to_bf16_bits

BLOCK = 1 << 22


@cache
def _normal_bits(deviation: float) -> np.ndarray:
    """A block of bf16 normal numbers, as bits."""
    values = np.random.default_rng(0).standard_normal(BLOCK, dtype=np.float32)
    return float32_to_bf16_bits(values * np.float32(deviation))


def random_weights(plan: Plan) -> Iterator[PackedWeight]:
    """bf16 weights that keep the scale of activations; constants of the model are what they are."""
    for tensor in plan.of_kind("weight"):
        if isinstance(tensor.source, Constant):
            values = np.ascontiguousarray(tensor.source.values, np.float32)
            yield PackedWeight(tensor.name, "f32", tensor.shape, (values.reshape(-1).view(np.uint8),))
        elif isinstance(tensor.source, CodedKernel | SumScale | NormScale):
            values = _float8(plan, tensor)
            yield PackedWeight(tensor.name, tensor.dtype, tensor.shape, (values.view(np.uint8),))
        else:
            yield PackedWeight(tensor.name, "bf16", tensor.shape, (_bits(tensor).view(np.uint8),))


def _float8(plan: Plan, tensor: Tensor) -> np.ndarray:
    """Codes of normal numbers 64 times as large, and scales for norms of up to 784 channels with gamma 1."""
    if isinstance(tensor.source, CodedKernel):
        return np.resize(_normal_codes(), tensor.size)
    norm = 2.0**-4
    if isinstance(tensor.source, NormScale):
        return np.full(tensor.size, norm, np.float32)
    kernel = plan.tensor(tensor.name.removesuffix("sum_scale") + "codes")
    return np.full(tensor.size, norm / 64 * prod(kernel.shape[1:]) ** -0.5, np.float32)


@cache
def _normal_codes() -> np.ndarray:
    return e4m3_codes(np.clip(64 * np.random.default_rng(0).standard_normal(BLOCK, dtype=np.float32), -448, 448))


def _bits(tensor: Tensor) -> np.ndarray:
    kind = tensor.name.rpartition(".")[2]
    if kind == "gamma" or ("norm" in tensor.name and kind == "weight"):
        return np.full(tensor.size, 0x3F80, np.uint16)  # 1.0
    deviation = 0.02 if kind == "bias" or len(tensor.shape) == 1 else prod(tensor.shape[1:]) ** -0.5
    return np.resize(_normal_bits(deviation), tensor.size)
