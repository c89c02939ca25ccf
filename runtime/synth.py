"""Model directories with random weights of the real shapes, for tests and benchmarks without a download."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import PenstockError
from .model import component_file, component_parameters, prepare_model_dir, preset, save_model_spec
from .safetensors_io import (
    Buffer,
    Progress,
    TensorCount,
    TensorInfo,
    float32_to_bf16_bits,
    progress_of_many,
    write_safetensors,
)
from .text import HASH_ENCODER, TextSpec, save_text_spec

_DTYPES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "bf16": ("BF16", float32_to_bf16_bits),
    "fp16": ("F16", lambda values: values.astype("<f2")),
    "fp32": ("F32", lambda values: values),
}
_WITHOUT_ENCODER = ("tiny",)  # no published text encoder is as narrow
# TAEHV has no norms: a memory block adds less than it passes on, so that nothing grows, and the pictures' share of the
# latents, small among its positive activations, is restored at the end.
_TAEHV_GAINS = ((".conv.0", 2**0.5), (".conv.2", 2**0.5), (".conv.4", 0.5), ("encoder.17", 4.0))
_SLICE = 1 << 18  # values drawn at a time: small enough that the passes of the bf16 rounding stay in the cache


@dataclass(frozen=True)
class SynthReport:
    """What `synth` wrote, or would write: counts per component and in all, and the directory (None for a dry run)."""

    components: dict[str, TensorCount]
    total: TensorCount
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

    It gets the DiT and both video autoencoders, and the preset `tiny` the placeholder text encoder. A tensor's values
    depend on the seed and its name alone, not on the order of the tensors, and differ between dtypes only by rounding.
    The scales (see `_mean_and_deviation`) keep activations finite and non-trivial. The weights are streamed in slices,
    so memory use does not grow with the model. `dst` as for `convert`; a dry run counts only and does not use it.
    Raises PenstockError for an unknown preset or dtype, a bad seed or a bad `dst`.
    """
    spec = preset(preset_name)
    if dtype not in _DTYPES:
        raise PenstockError(f"dtype: expected one of {', '.join(_DTYPES)}, got {dtype!r}")
    if type(seed) is not int or not 0 <= seed < 2**64:
        raise PenstockError(f"seed: expected an integer from 0 to 2**64 - 1, got {seed!r}")
    code, encode = _DTYPES[dtype]
    infos = {
        component: [TensorInfo.of(name, code, shape) for name, shape in component_parameters(component, part).items()]
        for component, part in spec.components().items()
    }
    counts = {component: TensorCount.of(tensors) for component, tensors in infos.items()}
    total = TensorCount.of(info for tensors in infos.values() for info in tensors)
    if dry_run:
        return SynthReport(counts, total, None)
    if dst is None:
        raise PenstockError("dst: expected a directory to write the model to, got none")
    path = prepare_model_dir(dst)
    steps = progress_of_many(progress, [count.bytes for count in counts.values()])
    for (component, tensors), step in zip(infos.items(), steps, strict=True):
        write_safetensors(
            path / component_file(component),
            tensors,
            lambda info, component=component: _values(component, info, seed, encode),
            progress=step,
        )
    save_model_spec(path, spec, {component: [component_file(component)] for component in infos})
    if preset_name in _WITHOUT_ENCODER:
        save_text_spec(path, TextSpec(HASH_ENCODER))
    return SynthReport(counts, total, path)


def _values(
    component: str, info: TensorInfo, seed: int, encode: Callable[[np.ndarray], np.ndarray]
) -> Iterator[Buffer]:
    mean, deviation = _mean_and_deviation(component, info.name, info.shape)
    generator = np.random.default_rng([seed, zlib.crc32(info.name.encode())])
    left = math.prod(info.shape)
    while left:
        values = generator.standard_normal(min(left, _SLICE), dtype=np.float32)
        left -= values.size
        values *= np.float32(deviation)
        values += np.float32(mean)
        yield encode(values)


def _mean_and_deviation(component: str, name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Normal parameters of a tensor: near what training leaves, and such that a layer keeps its input's scale."""
    owner, _, kind = name.rpartition(".")
    if kind == "modulation":
        return 0.0, 0.1
    if kind == "bias":
        return (0.5 if name == "decoder.22.bias" else 0.0), 0.02
    if kind == "gamma" or owner.endswith(("norm_q", "norm_k", "norm3")):
        return 1.0, 0.05
    gain = next((value for end, value in _TAEHV_GAINS if owner.endswith(end)), 1.0) if component == "taehv" else 1.0
    return 0.0, gain / math.sqrt(math.prod(shape[1:]))
