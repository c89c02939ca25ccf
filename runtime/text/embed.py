"""Prompts to embeddings: the cache first, else the encoder, loaded for these prompts and let go of right after."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from ..errors import PenstockError
from ..model import load_model
from ..prompt import Prompt, read_prompt
from .cache import PromptCache, fingerprint
from .clean import clean_prompt, cleaner_name
from .hash_embedding import hash_embedding
from .spec import HASH_ENCODER, EncoderFiles, load_text_spec
from .tokenizer import PromptTokenizer
from .umt5 import DTYPES, UMT5

TEXT_LEN = 512  # of every published model
_FILE_DTYPES = {"bf16": "BF16", "fp32": "F32"}  # what holds the encoder's output exactly


class PromptTruncated(UserWarning):
    """A prompt had more tokens than the model takes."""


def embed_prompts(
    prompts: Sequence[str],
    files: EncoderFiles,
    text_len: int = TEXT_LEN,
    text_dim: int | None = None,
    dtype: str = "bf16",
    device: str = "auto",
    cache: Path | None = None,
) -> list[Prompt]:
    """The embeddings of each prompt by the UMT5 encoder of `files`, float32 [rows <= text_len, d_model].

    dtype "bf16" (as published) or "fp32", device "auto", "cpu" or "cuda": see UMT5. The encoder is not loaded where
    the directory `cache` (see cache_directory; None for no cache) has every prompt. A prompt of more than `text_len`
    tokens loses its last words, with the warning PromptTruncated. Raises PenstockError where the encoder cannot be
    used, or its width is not `text_dim` (None takes any).
    """
    if dtype not in DTYPES:
        raise PenstockError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    cleaned = _clean(prompts)
    name = f"umt5 {fingerprint(files)} {dtype} {cleaner_name()} {text_len}"
    store = PromptCache(name, cache)
    results = {prompt: stored for prompt in cleaned if (stored := store.load(prompt)) is not None}
    if missing := [prompt for prompt in cleaned if prompt not in results]:
        tokenizer = PromptTokenizer(files.tokenizer)
        tokens = {prompt: tokenizer.encode(cleaned[prompt], text_len) for prompt in missing}
        with UMT5(files, dtype, device) as encoder:
            for prompt, token in tokens.items():
                results[prompt] = Prompt(encoder.encode(token.ids), prompt, name, token.total)
                store.store(results[prompt], _FILE_DTYPES[dtype])
    return [_checked(results[prompt], text_len, text_dim) for prompt in prompts]


def embed_for_model(
    model_dir: str | os.PathLike[str],
    prompts: Sequence[str],
    placeholder: bool = False,
    dtype: str = "bf16",
    device: str = "auto",
    cache: Path | None = None,
) -> list[Prompt]:
    """The embeddings of each prompt for a model directory, by the text encoder that its model.json names.

    A model without a text encoder is a PenstockError, unless `placeholder` is set: then its prompts become hash
    embeddings, which mean nothing to trained weights. Prompts that the model directory has embeddings of need no
    encoder. Other arguments, warnings and errors: see embed_prompts.
    """
    model = load_model(model_dir)
    dit, text = model.spec.dit, load_text_spec(model_dir)
    if text is None and not placeholder:
        raise PenstockError(
            f"{os.fspath(model_dir)}: expected a text encoder (entry text of model.json), found none; name the folder "
            "of an encoder, or ask for placeholder embeddings if the weights are random"
        )
    if text is None or text.encoder == HASH_ENCODER:
        found = {prompt: hash_embedding(prompt, dit.text_len, dit.text_dim) for prompt in _clean(prompts)}
        return [_checked(found[prompt], dit.text_len, dit.text_dim) for prompt in prompts]
    ready = {prompt.text: prompt for prompt in (read_prompt(model.path / name) for name in text.prompts)}
    missing = [prompt for prompt in prompts if prompt not in ready]
    if missing:
        embedded = embed_prompts(missing, text.files(model.path), dit.text_len, dit.text_dim, dtype, device, cache)
        ready |= dict(zip(missing, embedded, strict=True))
    return [_checked(ready[prompt], dit.text_len, dit.text_dim) for prompt in prompts]


def _clean(prompts: Sequence[str]) -> dict[str, str]:
    if isinstance(prompts, str):  # a sequence of letters, as far as Python goes
        raise PenstockError(f"prompts: expected a list of texts, got the text {prompts!r:.80}")
    return {prompt: clean_prompt(prompt) for prompt in prompts}


def _checked(prompt: Prompt, text_len: int, text_dim: int | None) -> Prompt:
    prompt.check_fits(text_len, prompt.embeddings.shape[1] if text_dim is None else text_dim)
    if prompt.tokens > prompt.rows:
        message = f"the prompt has {prompt.tokens} tokens, {text_len} are used: its last words have no effect"
        warnings.warn(message, PromptTruncated, stacklevel=3)
    return prompt
