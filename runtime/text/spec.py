"""Where a model's text encoder is: the entry "text" of model.json, and the layouts that published encoders come in.

    {"text": {"encoder": "umt5", "weights": ["text/model.safetensors", ...], "tokenizer": "text/tokenizer",
              "prompts": ["prompts/watercolour.safetensors", ...]}}
    {"text": {"encoder": "umt5", "path": "../Wan2.1-T2V-1.3B"}}     outside the directory, found by `find_encoder`
    {"text": {"encoder": "hash"}}                                   placeholder for random weights, see hash_embedding

"weights" and "tokenizer" are relative to the model directory and stay inside it, as are "prompts", an optional list of
prompt files: these prompts need no encoder, nor the libraries that it takes. "path" is relative to it too, or
absolute: the encoder of Wan has 11.4 GB, which models rather share than copy. model.json without the entry is a model
that has no text encoder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import PenstockError, os_errors_as_penstock, parse_json_object
from ..model import load_model
from ..model_file import MODEL_FILE, read_model_file, write_model_file
from .tokenizer import TOKENIZER_FILE

UMT5_ENCODER, HASH_ENCODER = "umt5", "hash"
ENCODERS = (UMT5_ENCODER, HASH_ENCODER)
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
_FIELDS = {"encoder", "weights", "tokenizer", "path", "prompts"}


@dataclass(frozen=True)
class EncoderFiles:
    """The files of a text encoder: weights of one encoder, the folder of its tokenizer, its config.json if any."""

    weights: tuple[Path, ...]
    tokenizer: Path
    config: Path | None = None


@dataclass(frozen=True)
class TextSpec:
    """The entry "text" of model.json. Raises PenstockError, naming the field, where the fields make no sense."""

    encoder: str
    weights: tuple[str, ...] = ()
    tokenizer: str | None = None
    path: str | None = None
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise PenstockError(f"text.encoder: expected one of {', '.join(ENCODERS)}, got {self.encoder!r:.80}")
        inside = bool(self.weights) or self.tokenizer is not None
        if self.encoder == HASH_ENCODER and (self.prompts or inside or self.path is not None):
            raise PenstockError('text: expected nothing besides encoder "hash", which has no files')
        if self.encoder == UMT5_ENCODER and self.path is None and not (self.weights and self.tokenizer is not None):
            raise PenstockError("text: expected weights and tokenizer, or path")
        if self.path is not None and (inside or not _is_text(self.path)):
            raise PenstockError(f"text.path: expected one path and no weights or tokenizer, got {self.path!r:.80}")
        for name in self.weights:
            if not _is_inside(name) or PurePosixPath(name).suffix not in WEIGHT_SUFFIXES:
                kinds = ", ".join(WEIGHT_SUFFIXES)
                raise PenstockError(f"text.weights: expected {kinds} files inside the directory, got {name!r:.80}")
        for name in self.prompts:
            if not _is_inside(name) or PurePosixPath(name).suffix != ".safetensors":
                raise PenstockError(f"text.prompts: expected .safetensors files inside the directory, got {name!r:.80}")
        if self.tokenizer is not None and not _is_inside(self.tokenizer):
            raise PenstockError(f"text.tokenizer: expected a folder inside the directory, got {self.tokenizer!r:.80}")

    def to_json(self) -> dict[str, Any]:
        """The entry as plain JSON data, without the fields that are not set."""
        fields = {"weights": list(self.weights), "tokenizer": self.tokenizer, "path": self.path,
                  "prompts": list(self.prompts)}  # fmt: skip
        return {"encoder": self.encoder, **{key: value for key, value in fields.items() if value}}

    @classmethod
    def from_json(cls, data: Any) -> TextSpec:
        """The inverse of `to_json`; `data` is untrusted."""
        if not isinstance(data, Mapping) or "encoder" not in data:
            raise PenstockError(f"text: expected an object with the field encoder, got {data!r:.80}")
        if unknown := sorted(set(data) - _FIELDS):
            raise PenstockError(f"text: unknown fields: {', '.join(f'{key!r:.80}' for key in unknown[:5])}")
        lists = {name: data.get(name, []) for name in ("weights", "prompts")}
        for name, files in lists.items():
            if not isinstance(files, list):
                raise PenstockError(f"text.{name}: expected a list of file names, got {files!r:.80}")
        weights, prompts = map(tuple, lists.values())
        return cls(data["encoder"], weights, data.get("tokenizer"), data.get("path"), prompts)

    def files(self, directory: Path) -> EncoderFiles:
        """The encoder's files for a model in `directory`. PenstockError where they are missing, or for "hash"."""
        if self.encoder != UMT5_ENCODER:
            raise PenstockError(f"text.encoder: {self.encoder!r} has no files")
        if self.path is not None:
            return find_encoder(directory / self.path)
        weights = tuple(directory / name for name in self.weights)
        return EncoderFiles(weights, directory / str(self.tokenizer), _config_of(weights[0]))


def load_text_spec(directory: str | os.PathLike[str]) -> TextSpec | None:
    """The entry "text" of a model directory's model.json, checked; None where the model has none."""
    load_model(directory)  # refuses whatever is not a sound model.json
    data = read_model_file(directory)
    try:
        return TextSpec.from_json(data["text"]) if "text" in data else None
    except PenstockError as error:
        raise PenstockError(f"{Path(directory) / MODEL_FILE}: {error}") from None


def save_text_spec(directory: str | os.PathLike[str], spec: TextSpec) -> None:
    """Set the entry "text" of an existing model.json; everything else in it stays. Replaced as a whole, never half."""
    load_model(directory)
    write_model_file(directory, {**read_model_file(directory), "text": spec.to_json()})


def find_encoder(path: str | os.PathLike[str]) -> EncoderFiles:
    """The UMT5 encoder of a folder or weight file, in any published layout:

    - the Wan repository: models_t5*.pth, tokenizer in google/umt5-xxl;
    - a diffusers repository: folders text_encoder and tokenizer;
    - a transformers folder: config.json, model.safetensors or its shards with their index, tokenizer within or in a
      folder tokenizer inside or beside it;
    - a .pth or .safetensors file, the tokenizer in one of those places around it.

    Raises PenstockError where there is none, or more than one.
    """
    path = Path(path)
    with os_errors_as_penstock(path, "read"):
        if path.is_file():
            if path.suffix not in WEIGHT_SUFFIXES:
                raise PenstockError(f"{path}: expected {', '.join(WEIGHT_SUFFIXES)} or a folder, got {path.suffix!r}")
            return _with_tokenizer((path,), path.parent)
        if not path.is_dir():
            raise PenstockError(f"{path}: expected a text encoder, found nothing there")
        pickles = sorted(path.glob("models_t5*.pth"))
        if len(pickles) > 1:
            names = ", ".join(file.name for file in pickles[:5])
            raise PenstockError(f"{path}: expected one text encoder, found several: {names}; name one file")
        if pickles:
            return _with_tokenizer((pickles[0],), path)
        for folder in (path, path / "text_encoder"):
            if weights := _transformers_weights(folder):
                return _with_tokenizer(weights, folder)
    raise PenstockError(
        f"{path}: expected a text encoder: models_t5*.pth, model*.safetensors, or those in a folder text_encoder"
    )


def _transformers_weights(folder: Path) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        single = folder / "model.safetensors"
        return (single,) if single.is_file() else ()
    shards = parse_json_object(index.read_bytes(), str(index)).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise PenstockError(f"{index}: weight_map: expected an object of key to file name, got {shards!r:.80}")
    for key, name in shards.items():
        if not _is_text(name) or Path(name).name != name or not name.endswith(".safetensors"):
            raise PenstockError(f"{index}: {key!r:.80}: expected the name of a file beside the index, got {name!r:.80}")
    return tuple(folder / name for name in sorted(set(shards.values())))


def _with_tokenizer(weights: tuple[Path, ...], folder: Path) -> EncoderFiles:
    candidates = (folder / "google" / "umt5-xxl", folder, folder / "tokenizer", folder.parent / "tokenizer")
    tokenizer = next((place for place in candidates if (place / TOKENIZER_FILE).is_file()), None)
    if tokenizer is None:
        raise PenstockError(f"{folder}: expected {TOKENIZER_FILE} in it, google/umt5-xxl or tokenizer, found none")
    return EncoderFiles(weights, tokenizer, _config_of(weights[0]))


def _config_of(weights: Path) -> Path | None:
    """The config.json beside weights of the transformers layout. Beside other files it may be another model's."""
    config = weights.with_name("config.json")
    return config if weights.match("model*.safetensors") and config.is_file() else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _is_inside(name: Any) -> bool:
    if not _is_text(name) or "\\" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
