"""Prompts to token ids, by the tokenizer.json of a Hugging Face fast tokenizer.

The `tokenizers` library reads that file as it is. transformers would rebuild the tokenizer from its vocabulary, and in
a way that changed between its major versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import PenstockError, os_errors_as_penstock
from .extras import require

TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class Tokens:
    """Token ids of a prompt with its special tokens, cut to the limit; `total` is their number before the cut."""

    ids: tuple[int, ...]
    total: int


class PromptTokenizer:
    """The tokenizer of a folder. Raises PenstockError where there is none, or it cannot be read."""

    def __init__(self, folder: Path) -> None:
        path = folder / TOKENIZER_FILE
        with os_errors_as_penstock(path, "read"):
            if not path.is_file():
                raise PenstockError(f"{folder}: expected a tokenizer folder, found no {TOKENIZER_FILE} in it")
            data = path.read_bytes()
        tokenizers = require("tokenizers")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises plain Exception for whatever it cannot parse
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise PenstockError(f"{path}: expected a fast tokenizer, but it cannot be read ({reason})") from None
        self._tokenizer.no_padding()

    def encode(self, text: str, limit: int) -> Tokens:
        """At most `limit` ids; a longer prompt loses its last words, never its special tokens."""
        self._tokenizer.no_truncation()
        ids = self._tokenizer.encode(text).ids
        total = len(ids)
        if total > limit:
            self._tokenizer.enable_truncation(limit)
            ids = self._tokenizer.encode(text).ids
        return Tokens(tuple(ids), total)
