"""Placeholder conditioning: embeddings made from the words' hashes, for models with random weights.

They carry no meaning. Their use is that the whole pipeline runs, and answers a change of prompt, without the 11 GB of
a text encoder. A model that was trained with a text encoder gets noise from them: never use them there.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from ..prompt import Prompt
from .clean import clean_prompt

ENCODER_NAME = "hash placeholder"
_END = "\n"  # no word is equal to it: words hold no white space


def hash_embedding(text: str, text_len: int, text_dim: int) -> Prompt:
    """A row for each word and one for the end, like the end token of a real encoder; at most `text_len` rows.

    A row depends on its word alone: values uniform in [-sqrt 3, sqrt 3), of zero mean and unit variance, the same on
    every machine. A longer prompt loses its last words, not its end.
    """
    words = clean_prompt(text).split()
    kept = [*words[: text_len - 1], _END]
    embeddings = np.stack([_vector(word, text_dim) for word in kept])
    return Prompt(embeddings, text, ENCODER_NAME, len(words) + 1)


def _vector(word: str, size: int) -> np.ndarray:
    bits = np.frombuffer(hashlib.shake_256(word.encode()).digest(4 * size), "<u4")
    return ((bits / 2.0**31 - 1.0) * math.sqrt(3.0)).astype(np.float32)
