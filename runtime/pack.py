"""Where a plan's weights come from: the packing rules between a model directory's tensors and the plan's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from .errors import PenstockError
from .float8 import e4m3_codes, e4m3_scale
from .safetensors_io import bf16_bits_to_float32

if TYPE_CHECKING:
    from .plan import Plan, Tensor
    from .weights import WeightSet


@dataclass(frozen=True)
class Packed:
    """The named tensors one after the other: a concatenation along the first axis, in the file's own dtype.

    ``rows``: only so many first rows of each.
    """

    keys: tuple[str, ...]
    rows: int | None = None


@dataclass(frozen=True)
class ConvKernel:
    """A convolution's weight [O, I, kt, ky, kx] or [O, I, ky, kx] with its channels last, in the file's own dtype.

    It becomes [O, kt, ky, kx, I]. A kernel over frames that were stacked along its input channels becomes one over
    time: ``taps`` names for every frame, in order of time, its place in the stack. ``rows``: only so many first output
    channels. ``doubled``: the kernel sees a picture doubled in size (nearest), and becomes the kernels of
    :func:`doubled_kernels`, float32.
    """

    key: str
    taps: tuple[int, ...] = (0,)
    rows: int | None = None
    doubled: bool = False


@dataclass(frozen=True)
class Constant:
    """Values that the model definition computes (float32), for instance a rotary table."""

    values: np.ndarray


@dataclass(frozen=True)
class CodedKernel:
    """A :class:`ConvKernel` in 8-bit floats, u8 codes; each output channel has a scale of its own."""

    key: str


@dataclass(frozen=True)
class SumScale:
    """What a product of 1 and 1 stands for in every output channel of a :class:`CodedKernel`, float32 [O], where the
    pixels are codes by the :class:`NormScale` of ``gamma``."""

    key: str
    gamma: str


@dataclass(frozen=True)
class NormScale:
    """The scale of 8-bit floats for a norm's output, float32 [1]: no channel can exceed sqrt(C) max |gamma|."""

    gamma: str


WeightSource = Packed | ConvKernel | Constant | CodedKernel | SumScale | NormScale


@dataclass(frozen=True)
class PackedWeight:
    """One weight of a plan with its values: dtype in the plan's spelling, parts to be concatenated (uint8, 1-D)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    parts: tuple[np.ndarray, ...]

    def bytes(self) -> np.ndarray:
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)


def packed_weights(plan: Plan, weights: WeightSet) -> Iterator[PackedWeight]:
    """Every weight of the plan, in plan order, taken from a model's tensors without copying them."""
    for tensor in plan.of_kind("weight"):
        yield _pack(tensor, weights)


def _pack(tensor: Tensor, weights: WeightSet) -> PackedWeight:
    if isinstance(tensor.source, Constant):
        values = np.ascontiguousarray(tensor.source.values, dtype=np.float32)
        return PackedWeight(tensor.name, "f32", tensor.shape, (values.reshape(-1).view(np.uint8),))
    if tensor.source is None:
        raise PenstockError(f"weight {tensor.name!r} has no source: a plan read from JSON cannot be packed again")
    if isinstance(tensor.source, ConvKernel):
        return _pack_kernel(tensor, tensor.source, weights)
    if isinstance(tensor.source, (CodedKernel, SumScale, NormScale)):
        return _pack_float8(tensor, tensor.source, weights)
    infos = [weights.infos[key] for key in tensor.source.keys]
    dtypes = {info.dtype for info in infos}
    if len(dtypes) != 1:
        listed = ", ".join(f"{info.name} {info.dtype}" for info in infos)
        raise PenstockError(f"weight {tensor.name!r} joins tensors of different dtypes: {listed}")
    rows = [min(info.shape[0], tensor.source.rows or info.shape[0]) for info in infos]
    if sum(count * prod(info.shape[1:]) for count, info in zip(rows, infos, strict=True)) != tensor.size:
        listed = ", ".join(f"{info.name} {list(info.shape)}" for info in infos)
        raise PenstockError(f"weight {tensor.name!r}: expected {list(tensor.shape)}, got {listed}")
    raws = [np.frombuffer(weights.raw(key), dtype=np.uint8) for key in tensor.source.keys]
    parts = tuple(raw[: raw.size * count // info.shape[0]] for raw, info, count in zip(raws, infos, rows, strict=True))
    return PackedWeight(tensor.name, dtypes.pop().lower(), tensor.shape, parts)


def _pack_kernel(tensor: Tensor, source: ConvKernel, weights: WeightSet) -> PackedWeight:
    info = weights.infos[source.key]
    outputs, stacked, *kernel = info.shape
    kernel = [1] * (3 - len(kernel)) + kernel
    frames = len(source.taps)
    rows = min(outputs, source.rows or outputs)
    shape = (rows, frames * kernel[0], *kernel[1:], stacked // frames)
    if source.doubled:
        shape = (4 * rows, shape[1], *((side + 1) // 2 for side in kernel[1:]), shape[4])
    if stacked % frames or shape != tensor.shape:
        raise PenstockError(
            f"weight {tensor.name!r}: expected {list(tensor.shape)}, got {info.name} {list(info.shape)}"
        )
    raw = np.frombuffer(weights.raw(source.key), dtype=np.uint8)
    elements = raw.view(f"u{raw.size // prod(info.shape)}").reshape(outputs, frames, stacked // frames, *kernel)
    values = elements[:rows, list(source.taps)].transpose(0, 1, 3, 4, 5, 2)
    values = values.reshape(rows, -1, *kernel[1:], stacked // frames)
    dtype = info.dtype.lower()
    if source.doubled:
        values, dtype = doubled_kernels(_as_float32(values, dtype)), "f32"
    return PackedWeight(tensor.name, dtype, tensor.shape, (np.ascontiguousarray(values).reshape(-1).view(np.uint8),))


def _pack_float8(tensor: Tensor, source: CodedKernel | SumScale | NormScale, weights: WeightSet) -> PackedWeight:
    if isinstance(source, NormScale):
        values = _norm_scale(source.gamma, weights)
    elif isinstance(source, SumScale):
        values = _row_scales(source.key, weights) * _norm_scale(source.gamma, weights)
    else:
        packed = _pack_kernel(tensor, ConvKernel(source.key), weights)
        rows = _as_float32(packed.parts[0].view(f"u{packed.parts[0].size // tensor.size}"), packed.dtype)
        values = e4m3_codes(rows.reshape(tensor.shape[0], -1) / _row_scales(source.key, weights)[:, None])
    if values.size != tensor.size:
        raise PenstockError(f"weight {tensor.name!r}: expected {list(tensor.shape)}, got {list(values.shape)}")
    dtype = "u8" if values.dtype == np.uint8 else "f32"
    return PackedWeight(tensor.name, dtype, tensor.shape, (values.reshape(-1).view(np.uint8),))


def _row_scales(key: str, weights: WeightSet) -> np.ndarray:
    """The scale of every output channel of a kernel, float32 [O]."""
    return e4m3_scale(np.abs(_floats(key, weights)).reshape(weights.infos[key].shape[0], -1).max(1))


def _norm_scale(gamma: str, weights: WeightSet) -> np.ndarray:
    values = _floats(gamma, weights)
    return e4m3_scale(np.sqrt(np.float32(values.size)) * np.abs(values).max()).reshape(1)


def _floats(key: str, weights: WeightSet) -> np.ndarray:
    """A tensor's values, float32; PenstockError for those that no scale fits."""
    info, raw = weights.infos[key], np.frombuffer(weights.raw(key), dtype=np.uint8)
    values = _as_float32(raw.view(f"u{raw.size // prod(info.shape)}"), info.dtype.lower())
    if not np.isfinite(values).all():
        raise PenstockError(f"tensor {key!r}: expected finite numbers for 8-bit floats, got others")
    return values


def _as_float32(bits: np.ndarray, dtype: str) -> np.ndarray:
    """Floats of a file's dtype, given as unsigned integers of their size."""
    return bf16_bits_to_float32(bits) if dtype == "bf16" else bits.view(f"f{bits.itemsize}").astype(np.float32)


def doubled_kernels(kernel: np.ndarray) -> np.ndarray:
    """A kernel [O, kt, ky, kx, I] over a picture doubled in size (nearest), as four kernels over the picture itself.

    Pixel (2p + a, 2q + b) of the output is made by kernel 2a + b of the result [4 O, kt, (ky+1)/2, (kx+1)/2, I], whose
    taps are sums of those that see the same pixel (csrc/ops/causal_conv3d/causal_conv3d.h). Added in float64, float32.
    """
    rows, columns = (_shared_pixels(side) for side in kernel.shape[2:4])
    kernels = np.einsum("ayv,bxw,otvwi->abotyxi", rows, columns, kernel.astype(np.float64))
    return kernels.reshape(-1, *kernels.shape[3:]).astype(np.float32)


def _shared_pixels(side: int) -> np.ndarray:
    """[2, (side+1)/2, side]: 1 where tap v sees pixel y, counted from the first that place a sees."""
    seen = np.zeros((2, (side + 1) // 2, side))
    for place in range(2):
        first = (place - (side - 1) // 2) // 2
        for tap in range(side):
            seen[place, (place - (side - 1) // 2 + tap) // 2 - first, tap] = 1
    return seen
