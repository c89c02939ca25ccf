"""Model directories with random weights of the real shapes, for tests and benchmarks without a download."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .convert import DIT_FILE
from .errors import PenstockError
from .model import dit_parameters, prepare_model_dir, preset, save_model_spec
from .safetensors_io import Buffer, Progress, TensorInfo, float32_to_bf16_bits, write_safetensors

_DTYPES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "bf16": ("BF16", float32_to_bf16_bits),
    "fp16": ("F16", lambda values: values.astype("<f2")),
    "fp32": ("F32", lambda values: values),
}
_SLICE = 1 << 18  # values drawn at a time: small enough that the passes of the bf16 rounding stay in the cache


@dataclass(frozen=True)
class SynthReport:
    """What `synth` wrote, or would write: counts, bytes of weights, and the directory (None for a dry run)."""

    tensors: int
    parameters: int
    bytes: int
    path: Path | None


def synth(
    preset_name: str,
    dst: str | os.PathLike[str] | None,
    seed: int = 0,
    dry_run: bool = False,
    dtype: str = "bf16",
    progress: Progress | None = None,
) -> SynthReport:
    """Write a model directory with random weights for a preset; `dtype` is "bf16", "fp16" or "fp32".

    A tensor's values depend on the seed and its name alone, not on the order of the tensors, and differ between
    dtypes only by rounding. The scales (see `_mean_and_deviation`) keep activations finite and non-trivial. The
    weights are streamed in slices, so memory use does not grow with the model. `dst` as for `convert`; a dry run
    counts only and does not use it. Raises PenstockError for an unknown preset or dtype, a bad seed or a bad `dst`.
    """
    spec = preset(preset_name)
    if dtype not in _DTYPES:
        raise PenstockError(f"dtype: expected one of {', '.join(_DTYPES)}, got {dtype!r}")
    if type(seed) is not int or not 0 <= seed < 2**64:
        raise PenstockError(f"seed: expected an integer from 0 to 2**64 - 1, got {seed!r}")
    code, encode = _DTYPES[dtype]
    infos = [TensorInfo.of(name, code, shape) for name, shape in dit_parameters(spec.dit).items()]
    path = None
    if not dry_run:
        if dst is None:
            raise PenstockError("dst: expected a directory to write the model to, got none")
        path = prepare_model_dir(dst)
        write_safetensors(path / DIT_FILE, infos, lambda info: _values(info, seed, encode), progress=progress)
        save_model_spec(path, spec, [DIT_FILE])
    parameters = sum(math.prod(info.shape) for info in infos)
    return SynthReport(len(infos), parameters, sum(info.nbytes for info in infos), path)


def _values(info: TensorInfo, seed: int, encode: Callable[[np.ndarray], np.ndarray]) -> Iterator[Buffer]:
    mean, deviation = _mean_and_deviation(info.name, info.shape)
    generator = np.random.default_rng([seed, zlib.crc32(info.name.encode())])
    left = math.prod(info.shape)
    while left:
        values = generator.standard_normal(min(left, _SLICE), dtype=np.float32)
        left -= values.size
        values *= np.float32(deviation)
        values += np.float32(mean)
        yield encode(values)


def _mean_and_deviation(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Normal parameters of a Wan tensor: near what training leaves, and such that a layer keeps its input's scale."""
    owner, _, kind = name.rpartition(".")
    if kind == "modulation":
        return 0.0, 0.1
    if kind == "bias":
        return 0.0, 0.02
    if owner.endswith(("norm_q", "norm_k", "norm3")):
        return 1.0, 0.05
    return 0.0, 1.0 / math.sqrt(math.prod(shape[1:]))
