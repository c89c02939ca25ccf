"""Where a plan's weights come from: the packing rules between a model directory's tensors and the plan's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from .errors import PenstockError

if TYPE_CHECKING:
    from .model import WeightSet
    from .plan import Plan, Tensor


@dataclass(frozen=True)
class Packed:
    """The named tensors one after the other: a concatenation along the first axis, in the file's own dtype."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class Constant:
    """Values that the model definition computes (float32), for instance a rotary table."""

    values: np.ndarray


WeightSource = Packed | Constant


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
    infos = [weights.infos[key] for key in tensor.source.keys]
    dtypes = {info.dtype for info in infos}
    if len(dtypes) != 1:
        listed = ", ".join(f"{info.name} {info.dtype}" for info in infos)
        raise PenstockError(f"weight {tensor.name!r} joins tensors of different dtypes: {listed}")
    if sum(prod(info.shape) for info in infos) != tensor.size:
        listed = ", ".join(f"{info.name} {list(info.shape)}" for info in infos)
        raise PenstockError(f"weight {tensor.name!r}: expected {list(tensor.shape)}, got {listed}")
    parts = tuple(np.frombuffer(weights.raw(key), dtype=np.uint8) for key in tensor.source.keys)
    return PackedWeight(tensor.name, dtypes.pop().lower(), tensor.shape, parts)
