"""prompt.safetensors, the cleaning of text, the tokenizer file, hash embeddings."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from penstock.runtime.errors import PenstockError
from penstock.runtime.prompt import Prompt, read_prompt, write_prompt
from penstock.runtime.text import hash_embedding
from penstock.runtime.text.clean import clean_prompt, cleaner_name
from penstock.runtime.text.tokenizer import PromptTokenizer, Tokens

from .tiny_encoder import END, ids_of, save_tokenizer


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_round_trip(tmp_path: Path, rng: np.random.Generator, dtype: str) -> None:
    values = rng.standard_normal((5, 24), dtype=np.float32)
    prompt = Prompt(values, 'a "cat" – 猫\n', "umt5", 9)
    write_prompt(tmp_path / "p.safetensors", prompt, dtype)
    other = load_file(tmp_path / "p.safetensors")["prompt_embeddings"]  # by a reader that nobody here wrote
    rounded = torch.from_numpy(values).to(other.dtype)
    assert other.dtype == {"BF16": torch.bfloat16, "F32": torch.float32}[dtype] and torch.equal(other, rounded)
    read = read_prompt(tmp_path / "p.safetensors")
    assert np.array_equal(read.embeddings, rounded.float().numpy())
    assert (read.text, read.encoder, read.tokens) == (prompt.text, "umt5", 9)


def test_file_without_metadata(tmp_path: Path) -> None:
    save_file({"prompt_embeddings": torch.ones(3, 4)}, tmp_path / "p.safetensors")
    read = read_prompt(tmp_path / "p.safetensors")
    assert (read.text, read.encoder, read.tokens) == ("", "", 3)


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({}, None, "expected the one tensor prompt_embeddings, got none"),
        ({"x": torch.ones(1, 1)}, None, "expected the one tensor prompt_embeddings, got 'x'"),
        ({"prompt_embeddings": torch.ones(3)}, None, r"expected float32 \[rows, text_dim\], got float32 \[3\]"),
        ({"prompt_embeddings": torch.ones(0, 4)}, None, r"got float32 \[0, 4\]"),
        ({"prompt_embeddings": torch.tensor(1.0)}, None, r"got float32 \[\]"),
        ({"prompt_embeddings": torch.ones(3, 4).half()}, None, "expected dtype BF16 or F32, got F16"),
        ({"prompt_embeddings": torch.full((1, 2), torch.nan)}, None, "expected finite values, got 2 others"),
        ({"prompt_embeddings": torch.ones(3, 4)}, {"tokens": "2"}, "expected at least the number of rows, 3, got 2"),
        ({"prompt_embeddings": torch.ones(3, 4)}, {"tokens": "-9"}, "tokens: expected a count, got '-9'"),
    ],
)
def test_bad_file(tmp_path: Path, tensors: dict, metadata: dict | None, message: str) -> None:
    path = tmp_path / "p.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(PenstockError, match=message) as error:
        read_prompt(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_must_fit_the_model() -> None:
    prompt = Prompt(np.ones((5, 24), np.float32), "", "", 5)
    prompt.check_fits(5, 24)
    for text_len, text_dim in ((4, 24), (5, 25)):
        with pytest.raises(PenstockError, match=rf"expected \[at most {text_len}, {text_dim}\], got \[5, 24\]"):
            prompt.check_fits(text_len, text_dim)
    with pytest.raises(PenstockError, match="dtype: expected one of BF16, F32, got 'F16'"):
        write_prompt("p.safetensors", prompt, "F16")


def test_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)
    assert cleaner_name() == "basic"
    assert clean_prompt("  a\u3000cat &amp;lt;b&amp;gt;\n\n&amp;amp;amp; x ") == "a cat <b> &amp; x"
    monkeypatch.setitem(sys.modules, "ftfy", types.SimpleNamespace(fix_text=lambda text: text.replace("Ã©", "é")))
    assert cleaner_name() == "ftfy"
    assert clean_prompt("cafÃ© &amp;") == "café &"
    with pytest.raises(PenstockError, match="expected valid Unicode text"):
        clean_prompt("\udc80")
    with pytest.raises(PenstockError, match="expected text, got int"):
        clean_prompt(3)  # type: ignore[arg-type]


def test_tokenizer(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    tokenizer = PromptTokenizer(tmp_path)
    for _ in range(2):  # a truncated prompt leaves no trace
        assert tokenizer.encode("a cat unheard", 9) == Tokens(tuple(ids_of("a cat unheard")), 4)
        assert tokenizer.encode("a cat walks the grass", 3) == Tokens(tuple(ids_of("a cat")), 6)
    assert tokenizer.encode("", 9) == Tokens((END,), 1)


def test_bad_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(PenstockError, match=r"expected a tokenizer folder, found no tokenizer\.json in it"):
        PromptTokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PenstockError, match="expected a fast tokenizer, but it cannot be read") as error:
        PromptTokenizer(tmp_path)
    assert "\n" not in str(error.value)


def test_hash_embedding() -> None:
    prompt = hash_embedding("a cat  a dog", 128, 256)
    rows = prompt.embeddings
    assert rows.shape == (5, 256) and prompt.tokens == 5 and rows.dtype == np.float32
    assert np.array_equal(rows[0], rows[2]) and not np.array_equal(rows[1], rows[3])
    many = hash_embedding(" ".join(map(str, range(100))), 128, 256).embeddings
    assert abs(many.mean()) < 0.02 and abs(many.std() - 1) < 0.02
    assert np.abs(np.corrcoef(many) - np.eye(101)).max() < 0.5
    cut = hash_embedding("a cat a dog", 3, 256)
    assert cut.tokens == 5 and np.array_equal(cut.embeddings, rows[[0, 1, 4]])  # the end stays
    assert hash_embedding("", 128, 256).embeddings.shape == (1, 256)


def test_hash_embedding_is_the_same_everywhere() -> None:
    expected = [-0.70378715, 1.20076227, 1.42878973, 0.88347906]
    assert np.allclose(hash_embedding("cat", 8, 4).embeddings[0], expected, atol=1e-6)
