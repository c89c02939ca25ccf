"""The specification of a Wan causal DiT: its dimensions, and every tensor of a checkpoint.

Key names and shapes: StreamDiffusionV2 specification, sections 4.1 and 4.10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from .errors import PenstockError
from .spec_json import Parameters, spec_from_json, spec_to_json

ARCHITECTURE = "wan_causal_dit"
# An untrusted model.json must not make dit_parameters() build a table without end.
_MAX_SIZE, _MAX_LAYERS = 1 << 20, 1024


@dataclass(frozen=True)
class DitSpec:
    """The dimensions of a Wan causal DiT (specification 4.1); `patch` is (frames, rows, columns) of one token.

    Raises PenstockError where a field is not a positive integer of sane size, or the fields contradict each other.
    """

    dim: int
    ffn_dim: int
    heads: int
    layers: int
    in_channels: int = 16
    out_channels: int = 16
    patch: tuple[int, int, int] = (1, 2, 2)
    text_len: int = 512
    text_dim: int = 4096
    freq_dim: int = 256
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                limit = _MAX_LAYERS if field.name == "layers" else _MAX_SIZE
                if type(value) is not int or not 1 <= value <= limit:
                    raise PenstockError(f"dit.{field.name}: expected an integer from 1 to {limit}, got {value!r:.80}")
        if self.patch != (1, 2, 2):
            raise PenstockError(f"dit.patch: expected (1, 2, 2), the only patch supported, got {self.patch!r:.80}")
        if type(self.eps) is not float or not 0.0 < self.eps < 1.0:
            raise PenstockError(f"dit.eps: expected a number between 0 and 1, got {self.eps!r:.80}")
        if self.dim % self.heads:
            raise PenstockError(f"dit.heads: expected a divisor of dim {self.dim}, got {self.heads}")
        if self.head_dim % 2:
            raise PenstockError(f"dit.heads: expected an even head_dim, got dim {self.dim} / {self.heads} heads")
        if self.freq_dim % 2:
            raise PenstockError(f"dit.freq_dim: expected an even number (cosines and sines), got {self.freq_dim}")

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.dim // self.heads

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return spec_to_json(self, ARCHITECTURE)

    @classmethod
    def from_json(cls, data: Any) -> DitSpec:
        """The inverse of `to_json`; `data` is untrusted, and may hold the list of weight files too."""
        return spec_from_json(cls, ARCHITECTURE, "dit", data)


def dit_parameters(spec: DitSpec) -> Parameters:
    """Every key of the original Wan layout (specification 4.10, no `model.` prefix) and its shape, in forward order."""
    d, f = spec.dim, spec.ffn_dim
    shapes: Parameters = {}

    def linear(name: str, rows: int, columns: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)

    shapes["patch_embedding.weight"] = (d, spec.in_channels, *spec.patch)
    shapes["patch_embedding.bias"] = (d,)
    linear("text_embedding.0", d, spec.text_dim)
    linear("text_embedding.2", d, d)
    linear("time_embedding.0", d, spec.freq_dim)
    linear("time_embedding.2", d, d)
    linear("time_projection.1", 6 * d, d)
    for layer in range(spec.layers):
        block = f"blocks.{layer}"
        shapes[f"{block}.modulation"] = (1, 6, d)
        shapes[f"{block}.norm3.weight"], shapes[f"{block}.norm3.bias"] = (d,), (d,)
        for attention in ("self_attn", "cross_attn"):
            for name in ("q", "k", "v", "o"):
                linear(f"{block}.{attention}.{name}", d, d)
            for name in ("norm_q", "norm_k"):
                shapes[f"{block}.{attention}.{name}.weight"] = (d,)
        linear(f"{block}.ffn.0", f, d)
        linear(f"{block}.ffn.2", d, f)
    shapes["head.modulation"] = (1, 2, d)
    linear("head.head", math.prod(spec.patch) * spec.out_channels, d)
    return shapes
