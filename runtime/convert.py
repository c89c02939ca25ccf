"""Converting published Wan DiT checkpoints into model directories."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint, open_checkpoint
from .dit_spec import DitSpec, dit_parameters
from .errors import PenstockError, listing
from .model import PRESETS, ModelDir, ModelSpec, prepare_model_dir, save_model_spec
from .safetensors_io import Progress, TensorInfo, write_safetensors
from .wan_keys import detect_layout, to_wan_key
from .weights import weight_problems as find_weight_problems

DIT_FILE = "dit.safetensors"
_HEAD_DIM = 128  # of every published Wan model
_TEXT_LEN = 512
# Where a dimension is read off the weights: field -> (Wan key, rank, axis).
_FROM_SHAPE: dict[str, tuple[str, int, int]] = {
    "dim": ("patch_embedding.weight", 5, 0),
    "in_channels": ("patch_embedding.weight", 5, 1),
    "ffn_dim": ("blocks.0.ffn.0.weight", 2, 0),
    "text_dim": ("text_embedding.0.weight", 2, 1),
    "freq_dim": ("time_embedding.0.weight", 2, 1),
}
# What config.json calls a field: original Wan first, then diffusers.
_CONFIG_KEYS: dict[str, tuple[str, ...]] = {
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


def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    name: str | None = None,
    progress: Progress | None = None,
) -> ModelDir:
    """Convert the DiT checkpoint `src` into the model directory `dst`, and return it.

    `src` is what `open_checkpoint` opens, with keys in the original Wan or in the diffusers layout. The dimensions
    come from the shapes of the weights. Shapes do not tell the number of heads: it comes from the config.json beside
    the weights, else it is dim // 128, right for every published Wan model. text_len comes from config.json, else it
    is 512. A config.json that contradicts the weights is an error. Each tensor keeps its dtype, bf16, fp16 or fp32,
    and its bits. `name` defaults to the preset of these dimensions, else to the name of `src`.

    The weights are streamed: memory use does not grow with the model. `dst` is created; if it exists it must be
    empty or a model directory, which is then overwritten. `progress(bytes done, bytes in all)` is called throughout.
    Raises PenstockError; one for missing or unexpected keys lists them.
    """
    checkpoint = open_checkpoint(src)
    names, problems = _wan_names(checkpoint, src)
    infos = {key: replace(checkpoint.infos[source], name=key) for key, source in names.items()}
    try:
        dit = _infer_dit(infos, checkpoint.config)
    except PenstockError as error:
        raise PenstockError(f"{os.fspath(src)}: {error}") from None
    problems += find_weight_problems(dit_parameters(dit), infos)
    if problems:
        raise PenstockError(listing(f"{os.fspath(src)}: {len(problems)} problems in the weights:", problems))
    spec = ModelSpec(_default_name(src, dit) if name is None else name, dit)
    target = prepare_model_dir(dst)
    ordered = [infos[key] for key in dit_parameters(dit)]
    write_safetensors(target / DIT_FILE, ordered, lambda info: checkpoint.chunks(names[info.name]), progress=progress)
    return save_model_spec(target, spec, {"dit": [DIT_FILE]})


def _wan_names(checkpoint: Checkpoint, src: str | os.PathLike[str]) -> tuple[dict[str, str], list[str]]:
    """Wan key -> name in the checkpoint, and one line for each name that no Wan key stands for."""
    try:
        layout = detect_layout(checkpoint.infos)
    except PenstockError as error:
        raise PenstockError(f"{os.fspath(src)}: {error}") from None
    names: dict[str, str] = {}
    unknown: list[str] = []
    for source, info in checkpoint.infos.items():
        key = to_wan_key(layout, source)
        if key is None:
            unknown.append(f"unexpected: {source!r:.200} {list(info.shape)}")
        elif key in names:
            raise PenstockError(f"{os.fspath(src)}: {source!r} and {names[key]!r} are the same weight, {key}")
        else:
            names[key] = source
    return names, unknown


def _infer_dit(infos: Mapping[str, TensorInfo], config: Mapping[str, Any]) -> DitSpec:
    values: dict[str, Any] = {field: _size(infos, *where) for field, where in _FROM_SHAPE.items()}
    values["out_channels"] = _size(infos, "head.head.weight", 2, 0) // 4  # 4 pixels of a (1, 2, 2) patch
    blocks = (key.split(".", 2)[1] for key in infos if key.startswith("blocks."))
    values["layers"] = 1 + max(int(index) for index in blocks if index.isdecimal() and len(index) < 6)
    configured = {
        field: config[key] for field, keys in _CONFIG_KEYS.items() for key in keys if config.get(key) is not None
    }
    for field, value in configured.items():
        if field in values and value != values[field]:
            raise PenstockError(f"config.json says {field} is {value!r:.80}, but the weights have {values[field]}")
    values = {"text_len": _TEXT_LEN, **values, **configured}
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


def _size(infos: Mapping[str, TensorInfo], key: str, rank: int, axis: int) -> int:
    """One dimension of a weight the spec is inferred from."""
    if key not in infos:
        raise PenstockError(f"missing: {key}, which the dimensions of the model are read from")
    shape = infos[key].shape
    if len(shape) != rank:
        raise PenstockError(f"{key}: expected {rank} dimensions, got shape {list(shape)}")
    return shape[axis]


def _default_name(src: str | os.PathLike[str], dit: DitSpec) -> str:
    known = next((spec.name for spec in PRESETS.values() if spec.dit == dit), None)
    path = Path(src).resolve()
    return known or (path.name if path.is_dir() else path.stem)
