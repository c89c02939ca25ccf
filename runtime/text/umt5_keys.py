"""UMT5 encoder weights: the original Wan keys, the keys of transformers, and the dimensions that the shapes tell.

Original keys and shapes: StreamDiffusionV2 specification, section 4.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import PenstockError, listing

Shape = tuple[int, ...]

SHARED, TIED, FINAL_NORM = "shared.weight", "encoder.embed_tokens.weight", "encoder.final_layer_norm.weight"
_OUTER = {"token_embedding.weight": SHARED, "norm.weight": FINAL_NORM}
_INNER = {
    "norm1": "layer.0.layer_norm",
    "attn.q": "layer.0.SelfAttention.q",
    "attn.k": "layer.0.SelfAttention.k",
    "attn.v": "layer.0.SelfAttention.v",
    "attn.o": "layer.0.SelfAttention.o",
    "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    "ffn.gate.0": "layer.1.DenseReluDense.wi_0",  # the one that goes through GELU
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}
_BLOCK = re.compile(r"blocks\.(\d{1,4})\.(.+)\.weight")
_MAX_LAYERS = 1024


def to_transformers_key(key: str) -> str | None:
    """The key of UMT5EncoderModel that an original Wan key stands for; None for any other key."""
    if key in _OUTER:
        return _OUTER[key]
    match = _BLOCK.fullmatch(key)
    return f"encoder.block.{match[1]}.{_INNER[match[2]]}.weight" if match and match[2] in _INNER else None


def encoder_names(keys: Iterable[str], what: str) -> dict[str, str]:
    """UMT5EncoderModel key -> key of the file, for either layout.

    The file may hold a whole encoder-decoder: decoder and language head are passed over. The tied copy of the
    embedding table is used only where the table itself is missing. `what` names the file in the PenstockError for
    unknown keys.
    """
    keys = list(keys)
    original = "token_embedding.weight" in keys
    names: dict[str, str] = {}
    unknown: list[str] = []
    for key in keys:
        if original:
            name = to_transformers_key(key)
        else:
            known = key in (SHARED, TIED, FINAL_NORM) or key.startswith("encoder.block.")
            name = key if known else None
            if key.startswith(("decoder.", "lm_head.")):
                continue
        if name is None:
            unknown.append(f"unexpected: {key!r:.200}")
        else:
            names[name] = key
    if unknown:
        raise PenstockError(listing(f"{what}: expected the weights of a UMT5 encoder, got others too:", unknown))
    tied = names.pop(TIED, None)
    if tied is not None:
        names.setdefault(SHARED, tied)
    return names


@dataclass(frozen=True)
class UMT5Dims:
    """Dimensions of a UMT5 encoder; the last two are no shapes, and the same in every published model."""

    vocab: int
    d_model: int
    d_kv: int
    d_ff: int
    heads: int
    layers: int
    buckets: int
    max_distance: int = 128
    eps: float = 1e-6

    def parameters(self) -> dict[str, Shape]:
        """Every key of UMT5EncoderModel and its shape, less the tied copy of the embedding table."""
        width, inner = self.d_model, self.heads * self.d_kv
        shapes: dict[str, Shape] = {SHARED: (self.vocab, width)}
        inner_shapes = {
            "norm1": (width,), "norm2": (width,),
            "attn.q": (inner, width), "attn.k": (inner, width), "attn.v": (inner, width), "attn.o": (width, inner),
            "pos_embedding.embedding": (self.buckets, self.heads),
            "ffn.gate.0": (self.d_ff, width), "ffn.fc1": (self.d_ff, width), "ffn.fc2": (width, self.d_ff),
        }  # fmt: skip
        for layer in range(self.layers):
            for name, shape in inner_shapes.items():
                shapes[f"encoder.block.{layer}.{_INNER[name]}.weight"] = shape
        shapes[FINAL_NORM] = (width,)
        return shapes


def infer_dims(shapes: Mapping[str, Shape], config: Mapping[str, Any], what: str) -> UMT5Dims:
    """The dimensions that weights under UMT5EncoderModel keys have; `config` is config.json, or empty.

    Raises PenstockError, naming `what`, where a weight is missing, unexpected or of the wrong shape, or where config
    says that this is another kind of model.
    """
    for key, expected in (("model_type", "umt5"), ("feed_forward_proj", "gated-gelu")):
        if config.get(key, expected) != expected:
            raise PenstockError(f"{what}: config.json: {key}: expected {expected!r}, got {config[key]!r:.80}")

    def size(key: str, axis: int) -> int:
        if len(shapes.get(key, ())) != 2 or 0 in shapes[key]:
            got = list(shapes[key]) if key in shapes else "nothing"
            raise PenstockError(f"{what}: {key}: expected a matrix, which the dimensions are read from, got {got}")
        return shapes[key][axis]

    first = "encoder.block.0.layer.0.SelfAttention"
    indexes = [int(match[1]) for key in shapes if (match := re.match(r"encoder\.block\.(\d{1,4})\.", key))]
    layers = 1 + max(indexes, default=0)
    if layers > _MAX_LAYERS:
        raise PenstockError(f"{what}: expected at most {_MAX_LAYERS} layers, got {layers}")
    heads = size(f"{first}.relative_attention_bias.weight", 1)
    if size(f"{first}.q.weight", 0) % heads:
        raise PenstockError(f"{what}: {size(f'{first}.q.weight', 0)} query channels are no multiple of {heads} heads")
    dims = UMT5Dims(
        vocab=size(SHARED, 0),
        d_model=size(SHARED, 1),
        d_kv=size(f"{first}.q.weight", 0) // heads,
        d_ff=size("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", 0),
        heads=heads,
        layers=layers,
        buckets=size(f"{first}.relative_attention_bias.weight", 0),
        max_distance=_number(config, "relative_attention_max_distance", int, 128, what),
        eps=_number(config, "layer_norm_epsilon", float, 1e-6, what),
    )
    expected = dims.parameters()
    problems = [f"missing: {key} {list(shape)}" for key, shape in expected.items() if key not in shapes]
    for key, shape in shapes.items():
        if key not in expected:
            problems.append(f"unexpected: {key!r:.200} {list(shape)}")
        elif shape != expected[key]:
            problems.append(f"{key}: expected shape {list(expected[key])}, got {list(shape)}")
    if problems:
        raise PenstockError(listing(f"{what}: {len(problems)} problems in the weights of the UMT5 encoder:", problems))
    return dims


def _number(config: Mapping[str, Any], key: str, kind: type, default: Any, what: str) -> Any:
    value = config.get(key, default)
    if type(value) is not kind or not value > 0:
        raise PenstockError(f"{what}: config.json: {key}: expected a positive {kind.__name__}, got {value!r:.80}")
    return value
