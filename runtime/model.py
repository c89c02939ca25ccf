"""Model specifications and model directories.

A model directory holds `model.json` and safetensors files. A model has up to three components: the DiT, which every
model has, and the video autoencoders Wan VAE and TAEHV. Each is an entry of model.json, its files have the keys of its
original checkpoint:

    {"format": "penstock-model", "version": 1, "name": "...",
     "dit": {"architecture": "wan_causal_dit", <every field of DitSpec>, "weights": ["dit.safetensors", ...]},
     "vae": {"architecture": "wan_vae", <every field of WanVaeSpec>, "weights": ["vae.safetensors", ...]},
     "taehv": {"architecture": "taehv", <every field of TaehvSpec>, "weights": ["taehv.safetensors", ...]},
     "text": see runtime/text/spec.py}

Everything in it is untrusted and checked on loading. Other top-level entries are left alone; inside a component's
nothing unknown is accepted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .dit_spec import DitSpec, dit_parameters
from .errors import PenstockError, os_errors_as_penstock
from .model_file import MODEL_FILE, read_model_file, write_model_file
from .spec_json import Parameters
from .vae_spec import TaehvSpec, WanVaeSpec, taehv_parameters, wan_vae_parameters
from .weights import WeightSet

FORMAT, VERSION = "penstock-model", 1

ComponentSpec = DitSpec | WanVaeSpec | TaehvSpec
_SPECS: dict[str, type[ComponentSpec]] = {"dit": DitSpec, "vae": WanVaeSpec, "taehv": TaehvSpec}
_PARAMETERS: dict[str, Callable[[Any], Parameters]] = {
    "dit": dit_parameters,
    "vae": wan_vae_parameters,
    "taehv": taehv_parameters,
}


def component_parameters(component: str, spec: ComponentSpec) -> Parameters:
    """Every key of a component's files and its shape, in forward order; `component` is "dit", "vae" or "taehv"."""
    return _PARAMETERS[component](spec)


def component_file(component: str) -> str:
    """The name of the one weight file that penstock itself writes for a component."""
    return f"{component}.safetensors"


@dataclass(frozen=True)
class ModelSpec:
    """What a model is, without its weights. An autoencoder's latents have as many channels as the DiT's output."""

    name: str
    dit: DitSpec
    vae: WanVaeSpec | None = None
    taehv: TaehvSpec | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise PenstockError(f"model name: expected a non-empty line of text, got {self.name!r:.80}")
        for component, coder in (("vae", self.vae), ("taehv", self.taehv)):
            if coder and coder.z_dim != self.dit.out_channels:
                raise PenstockError(
                    f"{component}.z_dim: expected {self.dit.out_channels}, dit.out_channels, got {coder.z_dim}"
                )

    def components(self) -> dict[str, ComponentSpec]:
        """The specifications that the model has, by the name of their entry of model.json."""
        found = {component: getattr(self, component) for component in _SPECS}
        return {component: spec for component, spec in found.items() if spec is not None}

    def to_json(self) -> dict[str, Any]:
        """The content of model.json, as plain JSON data, less the lists of weight files."""
        components = {component: spec.to_json() for component, spec in self.components().items()}
        return {"format": FORMAT, "version": VERSION, "name": self.name, **components}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `to_json`; `data` is untrusted, and may hold the lists of weight files too.

        Raises PenstockError, naming the field, where one is missing, unknown inside a component, or of the wrong type.
        """
        for key, expected in (("format", FORMAT), ("version", VERSION)):
            if key not in data or type(data[key]) is not type(expected) or data[key] != expected:
                raise PenstockError(f"{key}: expected {expected!r}, got {data.get(key, 'nothing')!r:.80}")
        if "name" not in data:
            raise PenstockError("name: expected a non-empty line of text, got nothing")
        if "dit" not in data:
            raise PenstockError("dit: expected an object, got nothing")
        specs: dict[str, Any] = {name: spec.from_json(data[name]) for name, spec in _SPECS.items() if name in data}
        return cls(data["name"], **specs)


PRESETS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec("wan2.1-t2v-1.3b", DitSpec(1536, 8960, heads=12, layers=30), WanVaeSpec(), TaehvSpec()),
        ModelSpec("wan2.1-t2v-14b", DitSpec(5120, 13824, heads=40, layers=40), WanVaeSpec(), TaehvSpec()),
        ModelSpec(
            "tiny",
            DitSpec(dim=256, ffn_dim=1024, heads=2, layers=6, text_len=128, text_dim=256, freq_dim=256),
            WanVaeSpec(base_dim=16),
            TaehvSpec(encoder_dim=16, decoder_dims=(64, 32, 16, 16)),
        ),
    )
}


def preset(name: str) -> ModelSpec:
    """The preset of that name; PenstockError listing the known names where there is none."""
    if name not in PRESETS:
        raise PenstockError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


@dataclass(frozen=True)
class ModelDir:
    """A loaded model directory: the checked spec, and per component the names of its weight files in `path`."""

    path: Path
    spec: ModelSpec
    weight_files: dict[str, tuple[str, ...]]

    def open_weights(self) -> WeightSet:
        """Map all weight files and check that they hold exactly the tensors of the spec; see WeightSet."""
        parameters = {name: component_parameters(name, spec) for name, spec in self.spec.components().items()}
        paths = {component: [self.path / name for name in names] for component, names in self.weight_files.items()}
        return WeightSet(self.spec.name, parameters, paths)


def load_model(directory: str | os.PathLike[str]) -> ModelDir:
    """Read and check model.json; the weights are opened by `ModelDir.open_weights`. PenstockError where it is bad."""
    data = read_model_file(directory)
    try:
        return _checked(Path(directory), data)
    except PenstockError as error:
        raise PenstockError(f"{Path(directory) / MODEL_FILE}: {error}") from None


def save_model_spec(
    directory: str | os.PathLike[str], spec: ModelSpec, weight_files: Mapping[str, Sequence[str]]
) -> ModelDir:
    """Write the name of `spec` and the components in `weight_files` to model.json; its other entries stay.

    `weight_files`: component -> its files, which lie in `directory`. The file is replaced as a whole, never half.
    Returns the model directory with all its components, as `load_model` would.
    """
    existing = read_model_file(directory) if (Path(directory) / MODEL_FILE).exists() else {}
    data = spec.to_json()
    written = {component: {**data[component], "weights": list(files)} for component, files in weight_files.items()}
    merged = {**existing, **{key: data[key] for key in ("format", "version", "name")}, **written}
    model = _checked(Path(directory), merged)
    write_model_file(directory, merged)
    return model


def prepare_model_dir(directory: str | os.PathLike[str]) -> Path:
    """Make `directory` ready to receive a model: created, empty, or a model directory that is to be changed.

    Raises PenstockError for a file and for a directory that holds anything else, so that nothing foreign is lost.
    """
    path = Path(directory)
    with os_errors_as_penstock(path, "use as a model directory"):
        if path.exists() and not path.is_dir():
            raise PenstockError(f"{path}: expected a directory to write the model to, found a file")
        # Unfinished files of an interrupted write do not count: the same command must work when it is repeated.
        if path.is_dir() and any(not entry.match(".*.part") for entry in path.iterdir()):
            try:
                load_model(path)
            except PenstockError as error:
                raise PenstockError(f"{path}: not empty and not a penstock model directory ({error})") from None
        path.mkdir(parents=True, exist_ok=True)
    return path


def _checked(path: Path, data: Mapping[str, Any]) -> ModelDir:
    spec = ModelSpec.from_json(data)
    return ModelDir(path, spec, {name: _checked_files(name, data[name].get("weights")) for name in spec.components()})


def _checked_files(component: str, names: Any) -> tuple[str, ...]:
    where = f"{component}.weights"
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise PenstockError(f"{where}: expected a non-empty list of file names, got {names!r:.80}")
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or path.suffix != ".safetensors" or "\0" in name:
            raise PenstockError(f"{where}: expected .safetensors files inside the directory, got {name!r:.80}")
    if len(set(names)) != len(names):
        raise PenstockError(f"{where}: expected distinct file names, got {names!r:.80}")
    return tuple(names)
