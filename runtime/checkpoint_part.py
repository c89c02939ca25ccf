"""A component of a model as a published checkpoint holds it: recognized by its keys, renamed, checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .checkpoint import Checkpoint, open_checkpoint
from .errors import PenstockError, listing
from .infer_spec import infer_dit, infer_taehv, infer_wan_vae
from .layouts import LAYOUTS, Layout, detect_layout
from .model import ComponentSpec, component_parameters
from .safetensors_io import Buffer, TensorInfo
from .vae_spec import TaehvSpec, taehv_decoder
from .weights import weight_problems


@dataclass(frozen=True)
class CheckpointPart:
    """The component's name in a model, its dimensions, its tensors under their original keys, and their data."""

    component: str
    spec: ComponentSpec
    infos: list[TensorInfo]
    chunks: Callable[[TensorInfo], Iterator[Buffer]]


def read_part(src: str | os.PathLike[str]) -> CheckpointPart:
    """The one component in what `open_checkpoint` opens. PenstockError where it is none, or not complete."""
    checkpoint = open_checkpoint(src)
    try:
        layout = LAYOUTS[detect_layout(checkpoint.infos)]
        names, problems = _original_names(checkpoint, layout)
        infos = {key: replace(checkpoint.infos[name], name=key) for key, name in names.items()}
        spec = _infer(layout.component, infos, checkpoint.config)
    except PenstockError as error:
        raise PenstockError(f"{os.fspath(src)}: {error}") from None
    if isinstance(spec, TaehvSpec):
        infos = _last_frames_grown(spec, infos)
    expected = component_parameters(layout.component, spec)
    problems += weight_problems(expected, infos)
    if problems:
        raise PenstockError(listing(f"{os.fspath(src)}: {len(problems)} problems in the weights:", problems))

    def chunks(info: TensorInfo) -> Iterator[Buffer]:
        name = names[info.name]
        return _without_first(checkpoint.chunks(name), checkpoint.infos[name].nbytes - info.nbytes)

    return CheckpointPart(layout.component, spec, [infos[key] for key in expected], chunks)


def _original_names(checkpoint: Checkpoint, layout: Layout) -> tuple[dict[str, str], list[str]]:
    """Original key -> name in the checkpoint, and one line for each name that no original key stands for."""
    names: dict[str, str] = {}
    unknown: list[str] = []
    for source, info in checkpoint.infos.items():
        key = layout.original_key(source)
        if key is None:
            unknown.append(f"unexpected: {source!r:.200} {list(info.shape)}")
        elif key in names:
            raise PenstockError(f"{source!r} and {names[key]!r} are the same weight, {key}")
        else:
            names[key] = source
    return names, unknown


def _infer(component: str, infos: Mapping[str, TensorInfo], config: Mapping[str, Any]) -> ComponentSpec:
    if component == "dit":
        return infer_dit(infos, config)
    return infer_wan_vae(infos, config) if component == "vae" else infer_taehv(infos)


def _last_frames_grown(spec: TaehvSpec, infos: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Published grow layers may make more frames than Wan has: of those TAEHV's own loader keeps the last ones."""
    expected, kept = component_parameters("taehv", spec), dict(infos)
    for layer in taehv_decoder(spec):
        key = f"{layer.key}.conv.weight"
        if layer.kind == "grow" and key in infos:
            info, shape = infos[key], expected[key]
            if info.shape[1:] == shape[1:] and info.shape[0] > shape[0]:
                kept[key] = TensorInfo.of(key, info.dtype, shape)
    return kept


def _without_first(chunks: Iterator[Buffer], count: int) -> Iterator[Buffer]:
    """The chunks less the first `count` bytes of all."""
    for chunk in chunks:
        data = np.frombuffer(chunk, np.uint8)
        if count < data.size:
            yield data[count:]
        count = max(count - data.size, 0)
