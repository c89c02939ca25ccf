"""Opening foreign checkpoints: torch pickles, safetensors files and diffusers-style directories, under one interface.

Nothing is loaded before it is asked for, and nothing of a checkpoint is ever executed (specification 4.10).
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import PenstockError, listing, os_errors_as_penstock, parse_json_object
from .safetensors_io import CHUNK_BYTES, Buffer, TensorFile, TensorInfo

_NESTS = ("generator", "generator_ema", "state_dict")  # in the order of preference
WEIGHTS_STEM = "diffusion_pytorch_model"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors under the names the checkpoint gives them.

    `chunks(name)` yields the data of a tensor as contiguous little-endian buffers of at most CHUNK_BYTES;
    `config` is the content of the config.json beside the weights, empty where there is none.
    """

    infos: dict[str, TensorInfo]
    chunks: Callable[[str], Iterator[Buffer]]
    config: dict[str, Any]


def open_checkpoint(src: str | os.PathLike[str]) -> Checkpoint:
    """Open a .pt or .pth pickle, a .safetensors file, or a directory with diffusion_pytorch_model*.safetensors.

    A pickle holds a state dict, at the top or under "generator", "generator_ema" or "state_dict" (the first found). A
    directory holds one file, or shards and their index.
    Raises PenstockError where it is none of these, is damaged, or would need code to be run.
    """
    path = Path(src)
    with os_errors_as_penstock(path, "read"):
        if path.is_dir():
            return _open_directory(path)
        if not path.is_file():
            raise PenstockError(f"{path}: expected a checkpoint file or directory, found nothing there")
        if path.suffix == ".safetensors":
            return _open_files([path], path.parent)
        if path.suffix in (".pt", ".pth"):
            return _open_pickle(path)
    raise PenstockError(f"{path}: expected a .pt, .pth or .safetensors file or a directory, got {path.suffix!r}")


def _open_directory(path: Path) -> Checkpoint:
    indexes = sorted(path.glob(f"{WEIGHTS_STEM}*.safetensors.index.json"))
    files = sorted(path.glob(f"{WEIGHTS_STEM}*.safetensors"))
    if len(indexes) == 1:
        return _open_indexed(indexes[0])
    plain = path / f"{WEIGHTS_STEM}.safetensors"
    if not indexes and plain in files:
        return _open_files([plain], path)
    if indexes or len(files) > 1:
        names = ", ".join(file.name for file in indexes or files[:5])
        raise PenstockError(f"{path}: expected one set of weights, found several: {names}; name one file")
    if not files:
        raise PenstockError(f"{path}: expected {WEIGHTS_STEM}*.safetensors or a folder transformer or vae, found none")
    return _open_files(files, path)


def _open_indexed(index: Path) -> Checkpoint:
    weight_map = parse_json_object(index.read_bytes(), str(index)).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise PenstockError(f"{index}: weight_map: expected an object of key to file name, got {weight_map!r:.80}")
    for key, name in weight_map.items():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors") or "\0" in name:
            raise PenstockError(f"{index}: {key!r:.80}: expected the name of a file beside the index, got {name!r:.80}")
    names = sorted(set(weight_map.values()))
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise PenstockError(listing(f"{index}: {len(missing)} of its {len(names)} shards are missing:", missing))
    checkpoint = _open_files([index.parent / name for name in names], index.parent)
    if absent := [f"{key!r:.200}: {name}" for key, name in weight_map.items() if key not in checkpoint.infos]:
        raise PenstockError(listing(f"{index}: {len(absent)} keys are in none of the shards:", absent))
    return checkpoint


def _open_files(paths: Sequence[Path], folder: Path) -> Checkpoint:
    files: dict[str, TensorFile] = {}
    for path in paths:
        file = TensorFile(path)
        for name in file.tensors:
            if name in files:
                raise PenstockError(f"{path}: tensor {name!r} is also in {files[name].path.name}")
            files[name] = file

    def chunks(name: str) -> Iterator[Buffer]:
        raw = files[name].raw(name)
        for start in range(0, raw.size, CHUNK_BYTES):
            yield raw[start : start + CHUNK_BYTES]

    return Checkpoint({name: file.tensors[name] for name, file in files.items()}, chunks, _read_config(folder))


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    return parse_json_object(path.read_bytes(), str(path)) if path.is_file() else {}


def _open_pickle(path: Path) -> Checkpoint:
    torch = _import_torch(path)
    state = state_dict(load_pickle(torch, path), path)
    dtypes = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}
    infos: dict[str, TensorInfo] = {}
    problems: list[str] = []
    for key, value in state.items():
        is_tensor = isinstance(value, torch.Tensor)
        usable = is_tensor and value.layout is torch.strided and value.device.type == "cpu" and value.dtype in dtypes
        if isinstance(key, str) and usable:
            infos[key] = TensorInfo.of(key, dtypes[value.dtype], tuple(value.shape))
        else:
            got = f"a {value.layout} tensor of {value.dtype}" if is_tensor else type(value).__name__
            problems.append(f"{key!r:.200}: expected a bf16, fp16 or fp32 tensor under a text key, got {got}")
    if problems:
        raise PenstockError(listing(f"{path}: {len(problems)} entries are not weights:", problems))

    def chunks(name: str) -> Iterator[Buffer]:
        flat = state[name].detach().contiguous().reshape(-1)
        step = CHUNK_BYTES // flat.element_size()
        for start in range(0, flat.numel(), step):
            yield flat[start : start + step].view(torch.uint8).numpy()

    return Checkpoint(infos, chunks, _read_config(path.parent))


def _import_torch(path: Path) -> ModuleType:
    try:
        import torch
    except ImportError:
        raise PenstockError(f"{path}: reading a torch checkpoint needs torch: install penstock[convert]") from None
    return torch


def load_pickle(torch: ModuleType, path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickle protocols; what cannot be read is an error below
            # Only the zip format can be mapped; files of torch before 1.6 are read into memory.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged pickle makes the restricted unpickler raise nearly anything
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise PenstockError(f"{path}: refused: expected plain tensors, but it needs code: {found[1]:.80}") from None
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise PenstockError(f"{path}: expected a torch checkpoint, but it cannot be read ({reason})") from None


def state_dict(content: Any, path: Path) -> Mapping[Any, Any]:
    where = "the top"
    if isinstance(content, Mapping):
        nest = next((name for name in _NESTS if name in content), None)
        if nest is not None:
            where, content = repr(nest), content[nest]
    if not isinstance(content, Mapping):
        raise PenstockError(f"{path}: expected a state dict at {where}, got {type(content).__name__}")
    return content
