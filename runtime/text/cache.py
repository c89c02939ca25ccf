"""Embeddings of earlier prompts on disk, so that the encoder is loaded once for each prompt and not once for each run.

One prompt file for each (prompt, encoder), named by a hash of both. Concurrent writers are safe, since files are
replaced as a whole. A file that is damaged, or was made by something else, counts as absent and is written anew. A
cache that cannot be written is no error.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..errors import PenstockError, os_errors_as_penstock
from ..prompt import Prompt, read_prompt, write_prompt
from .spec import EncoderFiles
from .tokenizer import TOKENIZER_FILE

_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16


def cache_directory() -> Path | None:
    """$XDG_CACHE_HOME/penstock/prompts, else ~/.cache/penstock/prompts; None where there is no home directory."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # unset, or relative, which the XDG specification says to ignore
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "penstock" / "prompts"


def fingerprint(files: EncoderFiles) -> str:
    """A hash, as hex, that tells one text encoder from another without reading its gigabytes.

    It covers size, modification time and 64 sampled blocks of each weight file, and all of tokenizer and config. A
    copy of an encoder may thus count as another one, which costs a second encoding; a changed file never goes unseen
    unless its changes miss the samples and its time is set back.
    """
    digest = hashlib.sha256()
    for path in files.weights:
        with os_errors_as_penstock(path, "read"), open(path, "rb") as file:
            status = os.fstat(file.fileno())
            digest.update(f"{status.st_size} {status.st_mtime_ns};".encode())
            last = max(status.st_size - _SAMPLE_BYTES, 0)
            for offset in sorted({last * index // (_SAMPLES - 1) for index in range(_SAMPLES)}):
                file.seek(offset)
                digest.update(file.read(_SAMPLE_BYTES))
    for path in (files.tokenizer / TOKENIZER_FILE, files.config):
        if path is not None:
            with os_errors_as_penstock(path, "read"):
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class PromptCache:
    """The cache of one encoder; `encoder` names it and its settings completely."""

    def __init__(self, encoder: str, directory: Path | None) -> None:
        self._encoder, self._directory = encoder, directory

    def path(self, text: str) -> Path | None:
        """Where the embeddings of a prompt lie, if they do; None without a cache."""
        if self._directory is None:
            return None
        key = f"{len(self._encoder)} {self._encoder} {text}".encode()
        return self._directory / f"{hashlib.sha256(key).hexdigest()}.safetensors"

    def load(self, text: str) -> Prompt | None:
        """The prompt as stored; None where it is not, or not soundly."""
        path = self.path(text)
        try:
            if path is None or not path.is_file():
                return None
            prompt = read_prompt(path)
        except (PenstockError, OSError):
            return None
        return prompt if (prompt.text, prompt.encoder) == (text, self._encoder) else None

    def store(self, prompt: Prompt, dtype: str) -> None:
        """Keep a prompt in `dtype` of a prompt file, which must hold its values exactly."""
        path = self.path(prompt.text)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_prompt(path, prompt, dtype)
        except (PenstockError, OSError):
            return  # a full or read-only disk: the next run encodes again
