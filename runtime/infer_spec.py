"""The dimensions of a model's components, read off the shapes of their weights and the config.json beside these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .dit_spec import DitSpec
from .errors import PenstockError
from .safetensors_io import TensorInfo
from .vae_spec import TaehvSpec, WanVaeSpec

_HEAD_DIM = 128  # of every published Wan model
_TEXT_LEN = 512
# Where a dimension is read off the weights: field -> (Wan key, rank, axis).
_DIT_SHAPES: dict[str, tuple[str, int, int]] = {
    "dim": ("patch_embedding.weight", 5, 0),
    "in_channels": ("patch_embedding.weight", 5, 1),
    "ffn_dim": ("blocks.0.ffn.0.weight", 2, 0),
    "text_dim": ("text_embedding.0.weight", 2, 1),
    "freq_dim": ("time_embedding.0.weight", 2, 1),
}
# What config.json calls a field: original Wan first, then diffusers.
_DIT_CONFIG: dict[str, tuple[str, ...]] = {
    "dim": ("dim",),
    "ffn_dim": ("ffn_dim",),
    "heads": ("num_heads", "num_attention_heads"),
    "layers": ("num_layers",),
    "in_channels": ("in_dim", "in_channels"),
    "out_channels": ("out_dim", "out_channels"),
    "text_len": ("text_len",),
    "text_dim": ("text_dim",),
    "freq_dim": ("freq_dim",),
    "eps": ("eps",),
}
# What diffusers' config.json calls the fields of a Wan VAE.
_VAE_CONFIG: dict[str, tuple[str, ...]] = {
    "base_dim": ("base_dim",),
    "z_dim": ("z_dim",),
    "dim_mult": ("dim_mult",),
    "mean": ("latents_mean",),
    "std": ("latents_std",),
}


def infer_dit(infos: Mapping[str, TensorInfo], config: Mapping[str, Any]) -> DitSpec:
    """A DiT's dimensions; see `convert` for what the shapes do not tell."""
    values: dict[str, Any] = {field: _size(infos, *where) for field, where in _DIT_SHAPES.items()}
    values["out_channels"] = _size(infos, "head.head.weight", 2, 0) // 4  # 4 pixels of a (1, 2, 2) patch
    blocks = (key.split(".", 2)[1] for key in infos if key.startswith("blocks."))
    values["layers"] = 1 + max(int(index) for index in blocks if index.isdecimal() and len(index) < 6)
    values = {"text_len": _TEXT_LEN, **values, **_configured(config, _DIT_CONFIG, values)}
    if "heads" not in values:
        if values["dim"] % _HEAD_DIM:
            raise PenstockError(
                f"the number of heads is unknown: no config.json names it, and dim {values['dim']} is not a multiple "
                f"of {_HEAD_DIM}"
            )
        values["heads"] = values["dim"] // _HEAD_DIM
    dit = DitSpec(**values)
    if config.get("attention_head_dim") not in (None, dit.head_dim):
        raise PenstockError(
            f"config.json says attention_head_dim is {config['attention_head_dim']!r:.80}, but dim {dit.dim} / "
            f"{dit.heads} heads is {dit.head_dim}"
        )
    return dit


def infer_wan_vae(infos: Mapping[str, TensorInfo], config: Mapping[str, Any]) -> WanVaeSpec:
    """A Wan VAE's dimensions; the latents' statistics come from config.json, else they are the published ones."""
    base_dim = _size(infos, "encoder.conv1.weight", 5, 0)
    levels = (f"encoder.downsamples.{3 * level}.residual.2.weight" for level in range(4))
    values: dict[str, Any] = {
        "base_dim": base_dim,
        "z_dim": _size(infos, "conv2.weight", 5, 0),
        "dim_mult": tuple(_size(infos, key, 5, 0) // max(base_dim, 1) for key in levels),
    }
    return WanVaeSpec(**{**values, **_configured(config, _VAE_CONFIG, values)})


def infer_taehv(infos: Mapping[str, TensorInfo]) -> TaehvSpec:
    """A TAEHV's dimensions."""
    levels = ("decoder.1.weight", "decoder.8.weight", "decoder.14.weight", "decoder.20.weight")
    first, second, third, fourth = (_size(infos, key, 4, 0) for key in levels)
    return TaehvSpec(
        z_dim=_size(infos, "decoder.1.weight", 4, 1),
        encoder_dim=_size(infos, "encoder.0.weight", 4, 0),
        decoder_dims=(first, second, third, fourth),
    )


def _configured(
    config: Mapping[str, Any], names: Mapping[str, tuple[str, ...]], inferred: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields that config.json gives, lists as tuples. PenstockError where it contradicts the weights."""
    found = {field: config[key] for field, keys in names.items() for key in keys if config.get(key) is not None}
    configured = {field: tuple(value) if isinstance(value, list) else value for field, value in found.items()}
    for field, value in configured.items():
        if field in inferred and value != inferred[field]:
            raise PenstockError(f"config.json says {field} is {value!r:.80}, but the weights have {inferred[field]}")
    return configured


def _size(infos: Mapping[str, TensorInfo], key: str, rank: int, axis: int) -> int:
    """One dimension of a weight the spec is inferred from."""
    if key not in infos:
        raise PenstockError(f"missing: {key}, which the dimensions of the model are read from")
    shape = infos[key].shape
    if len(shape) != rank:
        raise PenstockError(f"{key}: expected {rank} dimensions, got shape {list(shape)}")
    return shape[axis]
