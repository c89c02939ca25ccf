"""Converting published checkpoints into model directories."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .checkpoint import WEIGHTS_STEM
from .checkpoint_part import CheckpointPart, read_part
from .dit_spec import DitSpec
from .errors import PenstockError
from .model import PRESETS, ModelDir, ModelSpec, component_file, load_model, prepare_model_dir, save_model_spec
from .model_file import MODEL_FILE
from .safetensors_io import Progress, progress_of_many, write_safetensors
from .text import UMT5_ENCODER, TextSpec, find_encoder, save_text_spec

_PIPELINE_FOLDERS = ("transformer", "vae")  # of a diffusers repository
_WAN_VAE = "Wan2.1_VAE.pth"  # lies beside the DiT in a Wan repository


def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    name: str | None = None,
    progress: Progress | None = None,
    text: str | os.PathLike[str] | None = None,
) -> ModelDir:
    """Convert the checkpoint `src` into the model directory `dst`, or a component of it, and return it.

    `src` is what `open_checkpoint` opens: a DiT or a Wan VAE, each with keys in the original Wan or in the diffusers
    layout, or a TAEHV; or a folder of several: a diffusers repository, or a Wan repository with its VAE. Which one it
    is tell the keys. `dst` is created; if it exists it must be empty or a model directory, of which the components in
    `src` are replaced and the others stay. An autoencoder needs a DiT, in `src` or in `dst`.

    The dimensions come from the shapes of the weights. Shapes do not tell a DiT's number of heads: it comes from the
    config.json beside the weights, else it is dim // 128, right for every published Wan model. text_len comes from
    config.json, else it is 512; a VAE's latent statistics come from it, else they are the published ones. A config.json
    that contradicts the weights is an error. Each tensor keeps its dtype, bf16, fp16 or fp32, and its bits. `name`
    defaults to the preset of the DiT's dimensions, else to the name of `src`; without a DiT the model keeps its own.
    `text`: a UMT5 encoder (see `find_encoder`) that the model refers to from now on; it is not copied.

    The weights are streamed: memory use does not grow with the model. `progress(bytes done, bytes in all)` is called
    throughout. Raises PenstockError; one for missing or unexpected keys lists them.
    """
    parts = [read_part(source) for source in _sources(Path(src))]
    spec = _merged_spec(src, dst, name, parts)
    if text is not None:
        find_encoder(text)
    target = prepare_model_dir(dst)
    steps = progress_of_many(progress, [sum(info.nbytes for info in part.infos) for part in parts])
    for part, step in zip(parts, steps, strict=True):
        write_safetensors(target / component_file(part.component), part.infos, part.chunks, progress=step)
    model = save_model_spec(target, spec, {part.component: [component_file(part.component)] for part in parts})
    if text is not None:
        save_text_spec(target, TextSpec(UMT5_ENCODER, path=str(Path(text).resolve())))
    return model


def _sources(src: Path) -> list[Path]:
    """The checkpoints of a folder, `src` itself where it is a file or holds one set of weights."""
    if not src.is_dir():
        return [src]
    if any(src.glob(f"{WEIGHTS_STEM}*.safetensors*")):
        found = [src]
    else:
        found = [src / folder for folder in _PIPELINE_FOLDERS if (src / folder).is_dir()]
    if (src / _WAN_VAE).is_file():
        found.append(src / _WAN_VAE)
    return found or [src]


def _merged_spec(
    src: str | os.PathLike[str], dst: str | os.PathLike[str], name: str | None, parts: Sequence[CheckpointPart]
) -> ModelSpec:
    """The specification of the model in `dst` with the parts in it."""
    existing = load_model(dst).spec if (Path(dst) / MODEL_FILE).is_file() else None
    found = {part.component: part.spec for part in parts}
    if len(found) < len(parts):
        listed = ", ".join(part.component for part in parts)
        raise PenstockError(f"{os.fspath(src)}: expected at most one component of a kind, found {listed}")
    dit = found.get("dit")
    if existing is None and dit is None:
        added = ", ".join(found)
        raise PenstockError(f"{os.fspath(dst)}: expected a model directory to add {added} to: convert a DiT first")
    default = existing.name if existing and dit is None else _default_name(src, dit)
    components = {**(existing.components() if existing else {}), **found}
    try:
        return ModelSpec(default if name is None else name, **components)
    except PenstockError as error:
        raise PenstockError(f"{os.fspath(src)}: {error}") from None


def _default_name(src: str | os.PathLike[str], dit: DitSpec) -> str:
    known = next((spec.name for spec in PRESETS.values() if spec.dit == dit), None)
    path = Path(src).resolve()
    return known or (path.name if path.is_dir() else path.stem)
