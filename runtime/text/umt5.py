"""The UMT5 encoder itself: transformers' UMT5EncoderModel over memory-mapped weights of either layout."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from ..checkpoint import load_pickle, state_dict
from ..errors import PenstockError, os_errors_as_penstock, parse_json_object
from ..safetensors_io import TensorFile
from .extras import require
from .spec import EncoderFiles
from .umt5_keys import SHARED, TIED, UMT5Dims, encoder_names, infer_dims

DTYPES = {"bf16": "bfloat16", "fp32": "float32"}
DEVICES = ("auto", "cpu", "cuda")
_STORED = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


class UMT5:
    """A loaded encoder; a context manager that lets go of the weights on exit.

    dtype: "bf16" (as published) or "fp32"; weights stored in it are not copied but stay pages of their file.
    device: "auto" takes a GPU that has room for the weights, else the CPU.
    Raises PenstockError where the weights are not a complete UMT5 encoder, or a library is missing.
    """

    def __init__(self, files: EncoderFiles, dtype: str = "bf16", device: str = "auto") -> None:
        if dtype not in DTYPES:
            raise PenstockError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        self._torch = torch = require("torch")
        what = str(files.weights[0] if len(files.weights) == 1 else files.weights[0].parent)
        tensors = _open_tensors(torch, files.weights)
        names = encoder_names(tensors, what)
        weights = {name: tensors.pop(key) for name, key in names.items()}
        config = _read_config(files.config) if files.config else {}
        self.dims = infer_dims({name: tuple(value.shape) for name, value in weights.items()}, config, what)
        nbytes = sum(value.numel() for value in weights.values()) * (2 if dtype == "bf16" else 4)
        self.device = _pick_device(torch, device, nbytes)
        self._model: Any = _build(torch, self.dims, weights, getattr(torch, DTYPES[dtype])).to(self.device)

    def __enter__(self) -> UMT5:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory of the weights back."""
        self._model = None
        gc.collect()
        if self.device == "cuda":
            self._torch.cuda.empty_cache()

    def encode(self, ids: Sequence[int]) -> np.ndarray:
        """Token ids to float32 [len(ids), d_model].

        Only the tokens of the prompt go in. The published code pads them to text_len, masks the padding and zeroes its
        rows afterwards: the same numbers for more work.
        """
        if bad := [index for index in ids if not 0 <= index < self.dims.vocab]:
            raise PenstockError(
                f"tokenizer: expected token ids below {self.dims.vocab}, the vocabulary of the encoder, got {bad[0]}"
            )
        with self._torch.inference_mode():
            rows = self._model(input_ids=self._torch.tensor([list(ids)], device=self.device)).last_hidden_state[0]
            return rows.float().cpu().numpy()


def _build(torch: ModuleType, dims: UMT5Dims, weights: dict[str, Any], dtype: Any) -> Any:
    """UMT5EncoderModel with these tensors as its parameters: made without storage first, so nothing is held twice."""
    transformers = require("transformers")
    config = transformers.UMT5Config(
        vocab_size=dims.vocab, d_model=dims.d_model, d_kv=dims.d_kv, d_ff=dims.d_ff, num_layers=dims.layers,
        num_heads=dims.heads, relative_attention_num_buckets=dims.buckets,
        relative_attention_max_distance=dims.max_distance, layer_norm_epsilon=dims.eps, feed_forward_proj="gated-gelu",
        dropout_rate=0.0, attn_implementation="eager",
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.UMT5EncoderModel(config)
    for name in list(weights):
        weights[name] = weights[name].to(dtype)  # in place, one at a time: the other dtype's pages can go
    model.load_state_dict({**weights, TIED: weights[SHARED]}, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _open_tensors(torch: ModuleType, paths: Sequence[Path]) -> dict[str, Any]:
    """Every tensor of the files by its key there: bf16, fp16 or fp32, on the CPU, mapped where the format allows."""
    tensors: dict[str, Any] = {}
    for path in paths:
        with os_errors_as_penstock(path, "read"):
            if not path.is_file():
                raise PenstockError(f"{path}: expected the weights of the text encoder, found no such file")
            found = _open_pickle(torch, path) if path.suffix in (".pt", ".pth") else _open_safetensors(torch, path)
        if twice := next((key for key in found if key in tensors), None):
            raise PenstockError(f"{path}: tensor {twice!r} is in another of the files too")
        tensors.update(found)
    return tensors


def _open_pickle(torch: ModuleType, path: Path) -> dict[str, Any]:
    state = state_dict(load_pickle(torch, path), path)
    dtypes = tuple(getattr(torch, name) for name in _STORED.values())
    for key, value in state.items():
        usable = isinstance(value, torch.Tensor) and value.layout is torch.strided and value.dtype in dtypes
        if not usable or not isinstance(key, str):
            got = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            raise PenstockError(f"{path}: {key!r:.200}: expected a bf16, fp16 or fp32 tensor, got {got}")
    return dict(state)


def _open_safetensors(torch: ModuleType, path: Path) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    with TensorFile(path) as file, warnings.catch_warnings():
        # torch knows no read-only tensors and says so; nothing here writes to a weight.
        warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
        for key, info in file.tensors.items():
            if info.dtype not in _STORED:
                raise PenstockError(f"{path}: {key!r:.200}: expected a bf16, fp16 or fp32 tensor, got {info.dtype}")
            flat = torch.from_numpy(file.raw(key)).view(getattr(torch, _STORED[info.dtype]))
            tensors[key] = flat.reshape(info.shape)
    return tensors


def _read_config(path: Path) -> dict[str, Any]:
    with os_errors_as_penstock(path, "read"):
        return parse_json_object(path.read_bytes(), str(path))


def _pick_device(torch: ModuleType, device: str, nbytes: int) -> str:
    if device not in DEVICES:
        raise PenstockError(f"device: expected one of {', '.join(DEVICES)}, got {device!r}")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise PenstockError("device: expected a GPU for cuda, but torch finds none")
    if device == "auto":
        # A fifth more than the weights covers the activations of the longest prompt.
        return "cuda" if has_gpu and torch.cuda.mem_get_info()[0] >= nbytes * 1.2 else "cpu"
    return device
