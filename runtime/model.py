"""Model specifications and model directories.

A model directory holds `model.json` and safetensors files with Wan-named keys:

    {"format": "penstock-model", "version": 1, "name": "...",
     "dit": {"architecture": "wan_causal_dit", <every field of DitSpec>, "weights": ["dit.safetensors", ...]}}

Everything in it is untrusted and checked on loading. Other top-level entries are left alone; inside "dit" nothing
unknown is accepted. Key names and shapes: StreamDiffusionV2 specification, sections 4.1 and 4.10.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from .errors import PenstockError, listing, os_errors_as_penstock, parse_json_object
from .safetensors_io import TensorFile, TensorInfo

MODEL_FILE = "model.json"
FORMAT, VERSION, ARCHITECTURE = "penstock-model", 1, "wan_causal_dit"
WEIGHT_DTYPES = ("BF16", "F16", "F32")
_MAX_MODEL_FILE_BYTES = 1 << 20
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


@dataclass(frozen=True)
class ModelSpec:
    """What a model is, without its weights."""

    name: str
    dit: DitSpec

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise PenstockError(f"model name: expected a non-empty line of text, got {self.name!r:.80}")

    def to_json(self) -> dict[str, Any]:
        """The content of model.json, as plain JSON data, less the list of weight files."""
        dit = {"architecture": ARCHITECTURE, **asdict(self.dit), "patch": list(self.dit.patch)}
        return {"format": FORMAT, "version": VERSION, "name": self.name, "dit": dit}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `to_json`; `data` is untrusted, and may hold the list of weight files too.

        Raises PenstockError, naming the field, where one is missing, unknown inside "dit", or of the wrong type.
        """
        for key, expected in (("format", FORMAT), ("version", VERSION)):
            if key not in data or type(data[key]) is not type(expected) or data[key] != expected:
                raise PenstockError(f"{key}: expected {expected!r}, got {data.get(key, 'nothing')!r:.80}")
        if "name" not in data:
            raise PenstockError("name: expected a non-empty line of text, got nothing")
        dit = data.get("dit")
        if not isinstance(dit, dict):
            raise PenstockError(f"dit: expected an object, got {'nothing' if dit is None else type(dit).__name__}")
        known = {"architecture", *(field.name for field in fields(DitSpec))}
        if missing := sorted(known - dit.keys()):
            raise PenstockError(f"dit: fields are missing: {', '.join(missing)}")
        if unknown := sorted(dit.keys() - known - {"weights"}):
            raise PenstockError(f"dit: unknown fields: {', '.join(f'{key!r:.80}' for key in unknown[:5])}")
        if dit["architecture"] != ARCHITECTURE:
            raise PenstockError(f"dit.architecture: expected {ARCHITECTURE!r}, got {dit['architecture']!r:.80}")
        values = {field.name: dit[field.name] for field in fields(DitSpec)}
        patch = values["patch"]
        return cls(data["name"], DitSpec(**{**values, "patch": tuple(patch) if isinstance(patch, list) else patch}))


PRESETS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec("wan2.1-t2v-1.3b", DitSpec(dim=1536, ffn_dim=8960, heads=12, layers=30)),
        ModelSpec("wan2.1-t2v-14b", DitSpec(dim=5120, ffn_dim=13824, heads=40, layers=40)),
        ModelSpec("tiny", DitSpec(dim=256, ffn_dim=1024, heads=2, layers=6, text_len=128, text_dim=256, freq_dim=256)),
    )
}


def preset(name: str) -> ModelSpec:
    """The preset of that name; PenstockError listing the known names where there is none."""
    if name not in PRESETS:
        raise PenstockError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


def dit_parameters(spec: DitSpec) -> dict[str, tuple[int, ...]]:
    """Every key of the original Wan layout (specification 4.10, no `model.` prefix) and its shape, in forward order."""
    d, f = spec.dim, spec.ffn_dim
    shapes: dict[str, tuple[int, ...]] = {}

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


def weight_problems(spec: DitSpec, infos: Mapping[str, TensorInfo]) -> list[str]:
    """One line per missing or unexpected key, wrong shape and wrong dtype; empty where `infos` is a complete DiT."""
    expected = dit_parameters(spec)
    problems = [f"missing: {key} {list(shape)}" for key, shape in expected.items() if key not in infos]
    for key, info in infos.items():
        if key not in expected:
            problems.append(f"unexpected: {key!r:.200} {list(info.shape)}")
        elif info.shape != expected[key]:
            problems.append(f"{key}: expected shape {list(expected[key])}, got {list(info.shape)}")
        elif info.dtype not in WEIGHT_DTYPES:
            problems.append(f"{key}: expected dtype {' or '.join(WEIGHT_DTYPES)}, got {info.dtype}")
    return problems


class WeightSet:
    """A read-only view of all weight files of a model as one mapping from Wan key to tensor; a context manager.

    `infos` holds every tensor of every file. Raises PenstockError listing each missing and unexpected key, wrong shape
    and wrong dtype, and where a key is in two files.
    """

    def __init__(self, spec: ModelSpec, paths: Sequence[Path]) -> None:
        self.infos: dict[str, TensorInfo] = {}
        self._files: dict[str, TensorFile] = {}
        for path in paths:
            file = TensorFile(path)
            for key, info in file.tensors.items():
                if key in self._files:
                    raise PenstockError(f"{path}: tensor {key!r} is also in {self._files[key].path.name}")
                self.infos[key], self._files[key] = info, file
        if problems := weight_problems(spec.dit, self.infos):
            raise PenstockError(listing(f"weights of model {spec.name!r}: {len(problems)} problems:", problems))

    def __enter__(self) -> WeightSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every file; arrays from `raw` stay valid."""
        for file in self._files.values():
            file.close()

    def _file(self, key: str) -> TensorFile:
        if key not in self._files:
            raise PenstockError(f"weights: there is no tensor {key!r}")
        return self._files[key]

    def raw(self, key: str) -> np.ndarray:
        """The bytes of a tensor, a read-only uint8 view [nbytes] of the file."""
        return self._file(key).raw(key)

    def numpy(self, key: str) -> np.ndarray:
        """A tensor as a new float32 array of its shape (BF16 and F16 widened exactly)."""
        return self._file(key).numpy(key)


@dataclass(frozen=True)
class ModelDir:
    """A loaded model directory: the checked spec and the names of its weight files, relative to `path`."""

    path: Path
    spec: ModelSpec
    weight_files: tuple[str, ...]

    def open_weights(self) -> WeightSet:
        """Map the weight files and check that they hold exactly the tensors of the spec; see WeightSet."""
        return WeightSet(self.spec, [self.path / name for name in self.weight_files])


def _check_weight_files(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise PenstockError(f"dit.weights: expected a non-empty list of file names, got {names!r:.80}")
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or path.suffix != ".safetensors" or "\0" in name:
            raise PenstockError(f"dit.weights: expected .safetensors files inside the directory, got {name!r:.80}")
    if len(set(names)) != len(names):
        raise PenstockError(f"dit.weights: expected distinct file names, got {names!r:.80}")
    return tuple(names)


def save_model_spec(directory: str | os.PathLike[str], spec: ModelSpec, weight_files: Sequence[str]) -> ModelDir:
    """Write model.json (replaced as a whole, never half) for weight files that lie in `directory`."""
    names = _check_weight_files(list(weight_files))
    data = spec.to_json()
    data["dit"]["weights"] = list(names)
    target = Path(directory) / MODEL_FILE
    temporary = target.with_name(f".{MODEL_FILE}.part")
    with os_errors_as_penstock(target, "write"):
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, target)
    return ModelDir(Path(directory), spec, names)


def load_model(directory: str | os.PathLike[str]) -> ModelDir:
    """Read and check model.json; the weights are opened by `ModelDir.open_weights`. PenstockError where it is bad."""
    path = Path(directory)
    file = path / MODEL_FILE
    with os_errors_as_penstock(file, "read"):
        if not file.is_file():
            raise PenstockError(f"{path}: expected a model directory, found no {MODEL_FILE} in it")
        if (size := file.stat().st_size) > _MAX_MODEL_FILE_BYTES:
            raise PenstockError(f"{file}: expected at most {_MAX_MODEL_FILE_BYTES} bytes, got {size}")
        data = parse_json_object(file.read_bytes(), str(file))
    try:
        spec = ModelSpec.from_json(data)
        return ModelDir(path, spec, _check_weight_files(data["dit"].get("weights")))
    except PenstockError as error:
        raise PenstockError(f"{file}: {error}") from None


def prepare_model_dir(directory: str | os.PathLike[str]) -> Path:
    """Make `directory` ready to receive a model: created, empty, or a model directory that is to be overwritten.

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
