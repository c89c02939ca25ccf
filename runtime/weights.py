"""The weights of a model: all files of all its components as one checked mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .errors import PenstockError, listing
from .safetensors_io import TensorFile, TensorInfo
from .spec_json import Parameters

WEIGHT_DTYPES = ("BF16", "F16", "F32")


def weight_problems(expected: Parameters, infos: Mapping[str, TensorInfo]) -> list[str]:
    """One line per missing or unexpected key, wrong shape and wrong dtype; empty where `infos` is what is expected."""
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
    """A read-only view of a model's weight files as one mapping from key to tensor; a context manager.

    A key is `<component>.<key in the file>`, such as `dit.head.modulation` or `vae.conv2.weight`. `infos` holds every
    tensor of every file. `parameters` and `paths` are per component: the tensors that its files must hold, and the
    files. Raises PenstockError listing each missing and unexpected key, wrong shape and wrong dtype, and where two
    files of a component have the same key.
    """

    def __init__(self, model: str, parameters: Mapping[str, Parameters], paths: Mapping[str, Sequence[Path]]) -> None:
        self.infos: dict[str, TensorInfo] = {}
        self._files: dict[str, TensorFile] = {}
        for component, files in paths.items():
            for path in files:
                self._add(component, TensorFile(path))
        expected = {f"{name}.{key}": shape for name, table in parameters.items() for key, shape in table.items()}
        if problems := weight_problems(expected, self.infos):
            raise PenstockError(listing(f"weights of model {model!r}: {len(problems)} problems:", problems))

    def _add(self, component: str, file: TensorFile) -> None:
        for name, info in file.tensors.items():
            key = f"{component}.{name}"
            if key in self._files:
                raise PenstockError(f"{file.path}: tensor {name!r} is also in {self._files[key].path.name}")
            self.infos[key], self._files[key] = replace(info, name=key), file

    def __enter__(self) -> WeightSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every file; arrays from `raw` stay valid."""
        for file in self._files.values():
            file.close()

    def _source(self, key: str) -> tuple[TensorFile, str]:
        if key not in self._files:
            raise PenstockError(f"weights: there is no tensor {key!r}")
        return self._files[key], key.partition(".")[2]

    def raw(self, key: str) -> np.ndarray:
        """The bytes of a tensor, a read-only uint8 view [nbytes] of the file."""
        file, name = self._source(key)
        return file.raw(name)

    def numpy(self, key: str) -> np.ndarray:
        """A tensor as a new float32 array of its shape (BF16 and F16 widened exactly)."""
        file, name = self._source(key)
        return file.numpy(name)
