"""prompt.safetensors: the text embeddings of one prompt, all that an engine needs to know of it.

One tensor `prompt_embeddings` [rows, text_dim], BF16 or F32: a row for each token, without padding (the engine pads
with zeros). Metadata: `prompt` the text, `encoder` what made the rows, `tokens` how many tokens the prompt had before
it was cut to the model's limit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from .errors import PenstockError
from .safetensors_io import TensorFile, TensorInfo, float32_to_bf16_bits, write_safetensors

PROMPT_FILE = "prompt.safetensors"
TENSOR = "prompt_embeddings"
DTYPES = ("BF16", "F32")


@dataclass(frozen=True)
class Prompt:
    """Embeddings float32 [rows, text_dim] of a prompt, its text, the name of its encoder, its tokens before the cut.

    Raises PenstockError where the embeddings are not a finite float32 matrix of at least one row and column.
    """

    embeddings: np.ndarray
    text: str
    encoder: str
    tokens: int

    def __post_init__(self) -> None:
        values = self.embeddings
        if values.dtype != np.float32 or values.ndim != 2 or 0 in values.shape:
            raise PenstockError(f"{TENSOR}: expected float32 [rows, text_dim], got {values.dtype} {list(values.shape)}")
        if not np.isfinite(values).all():
            raise PenstockError(f"{TENSOR}: expected finite values, got {int((~np.isfinite(values)).sum())} others")
        if self.tokens < self.rows:
            raise PenstockError(f"tokens: expected at least the number of rows, {self.rows}, got {self.tokens}")

    @property
    def rows(self) -> int:
        """Rows of the embeddings: tokens that the model sees."""
        return self.embeddings.shape[0]

    def check_fits(self, text_len: int, text_dim: int) -> None:
        """PenstockError where a model of these dimensions cannot take the prompt."""
        rows, columns = self.embeddings.shape
        if rows > text_len or columns != text_dim:
            raise PenstockError(f"{TENSOR}: expected [at most {text_len}, {text_dim}], got [{rows}, {columns}]")


def write_prompt(path: str | os.PathLike[str], prompt: Prompt, dtype: str = "BF16") -> None:
    """Write a prompt file; "BF16" rounds the embeddings to nearest even. Replaced as a whole, never half."""
    if dtype not in DTYPES:
        raise PenstockError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    values = np.ascontiguousarray(prompt.embeddings, "<f4")
    data = float32_to_bf16_bits(values).astype("<u2", copy=False) if dtype == "BF16" else values
    metadata = {"prompt": prompt.text, "encoder": prompt.encoder, "tokens": str(prompt.tokens)}
    info = TensorInfo.of(TENSOR, dtype, values.shape)
    write_safetensors(path, [info], lambda _: [data.view(np.uint8).reshape(-1)], metadata)


def read_prompt(path: str | os.PathLike[str]) -> Prompt:
    """Read a prompt file, which is untrusted; absent metadata reads as empty. PenstockError where it is not one."""
    with TensorFile(path) as file:
        if set(file.tensors) != {TENSOR}:
            names = ", ".join(f"{name!r:.80}" for name in list(file.tensors)[:5]) or "none"
            raise PenstockError(f"{file.path}: expected the one tensor {TENSOR}, got {names}")
        if (info := file.info(TENSOR)).dtype not in DTYPES:
            raise PenstockError(f"{file.path}: {TENSOR}: expected dtype {' or '.join(DTYPES)}, got {info.dtype}")
        embeddings, metadata = file.numpy(TENSOR), file.metadata
    tokens = metadata.get("tokens", str(info.shape[0] if info.shape else 0))
    try:
        if not (tokens.isdecimal() and len(tokens) < 10):
            raise PenstockError(f"tokens: expected a count, got {tokens!r:.80}")
        return Prompt(embeddings, metadata.get("prompt", ""), metadata.get("encoder", ""), int(tokens))
    except PenstockError as error:
        raise PenstockError(f"{os.fspath(path)}: {error}") from None
