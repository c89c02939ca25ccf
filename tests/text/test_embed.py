"""Prompts to embeddings: truncation, the cache, model directories, the command."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from penstock.commands import embed as command
from penstock.runtime.errors import PenstockError
from penstock.runtime.prompt import Prompt, read_prompt, write_prompt
from penstock.runtime.synth import synth
from penstock.runtime.text import (
    EncoderFiles,
    PromptTruncated,
    TextSpec,
    cache_directory,
    embed,
    embed_for_model,
    embed_prompts,
    find_encoder,
    hash_embedding,
    save_text_spec,
)
from penstock.runtime.text.cache import PromptCache, fingerprint

from .tiny_encoder import ids_of, make_model, save_transformers, save_wan

PROMPT = "a cat walks through grass"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_wan(tmp_path_factory.mktemp("wan"), make_model(7))


@pytest.fixture
def files(encoder: Path) -> EncoderFiles:
    return find_encoder(encoder)


def embed_one(files: EncoderFiles, prompt: str = PROMPT, **settings: Any) -> Prompt:
    (result,) = embed_prompts([prompt], files, **{"dtype": "fp32", "device": "cpu", **settings})
    return result


@pytest.fixture
def no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the encoder was loaded")

    monkeypatch.setattr(embed, "UMT5", refuse)


def test_only_the_rows_of_the_prompt(files: EncoderFiles) -> None:
    model = make_model(7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prompt = embed_one(files)
    with torch.inference_mode():
        rows = model(input_ids=torch.tensor([ids_of(PROMPT)])).last_hidden_state[0].numpy()
    assert prompt.embeddings.shape == (6, 64) == rows.shape  # five words and the end, no padding
    assert np.allclose(prompt.embeddings, rows, rtol=1e-5, atol=1e-5)
    assert (prompt.text, prompt.tokens) == (PROMPT, 6)


def test_empty_prompt_has_the_end_token(files: EncoderFiles) -> None:
    assert embed_one(files, " ").embeddings.shape == (1, 64)


def test_cleaned_before_the_tokenizer(files: EncoderFiles) -> None:
    raw = embed_one(files, "  a&amp;#32;cat \n walks\tthrough grass ")
    assert np.array_equal(raw.embeddings, embed_one(files).embeddings)


def test_truncation_warns_and_keeps_the_end_token(files: EncoderFiles, tmp_path: Path) -> None:
    for _ in range(2):  # from the cache too
        with pytest.warns(PromptTruncated, match="the prompt has 6 tokens, 4 are used"):
            prompt = embed_one(files, text_len=4, cache=tmp_path)
        assert prompt.tokens == 6
        assert np.array_equal(prompt.embeddings, embed_one(files, "a cat walks").embeddings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embed_one(files, text_len=6)  # exactly full


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_cache_hit_does_not_load_the_encoder(
    files: EncoderFiles, tmp_path: Path, request: pytest.FixtureRequest, dtype: str
) -> None:
    first = embed_one(files, dtype=dtype, cache=tmp_path / "cache")
    request.getfixturevalue("no_encoder")
    second = embed_one(files, dtype=dtype, cache=tmp_path / "cache")
    assert second.embeddings.tobytes() == first.embeddings.tobytes()
    assert (second.text, second.encoder, second.tokens) == (first.text, first.encoder, first.tokens)
    for change in ({"prompt": "a dog"}, {"text_len": 100}, {"dtype": {"bf16": "fp32", "fp32": "bf16"}[dtype]}):
        with pytest.raises(AssertionError, match="the encoder was loaded"):
            embed_one(files, **{"dtype": dtype, "cache": tmp_path / "cache", **change})
    with pytest.raises(AssertionError, match="the encoder was loaded"):
        embed_one(files, dtype=dtype, cache=None)


def test_damaged_cache_is_written_anew(files: EncoderFiles, tmp_path: Path) -> None:
    good = embed_one(files, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    other = embed_one(files, "a dog")
    for damage in (b"", data[:100], data[:-1], b"\xff" * len(data), None, data.replace(b"grass", b"brass")):
        if damage is None:
            write_prompt(file, other, "F32")  # sound, but of another prompt
        else:
            file.write_bytes(damage)
        assert embed_one(files, cache=tmp_path).embeddings.tobytes() == good.embeddings.tobytes()
        assert file.read_bytes() == data
    assert list(tmp_path.iterdir()) == [file]


def test_cache_that_cannot_be_written(files: EncoderFiles, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert embed_one(files, cache=tmp_path / "file" / "cache").rows == 6


def test_concurrent_writers(tmp_path: Path, rng: np.random.Generator) -> None:
    prompt = Prompt(rng.standard_normal((64, 512), dtype=np.float32), PROMPT, "umt5", 64)
    cache = PromptCache("umt5", tmp_path)
    cache.store(prompt, "F32")

    def write_and_read(_: int) -> bool:
        cache.store(prompt, "F32")
        read = cache.load(PROMPT)
        return read is not None and np.array_equal(read.embeddings, prompt.embeddings)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write_and_read, range(64)))
    assert list(tmp_path.iterdir()) == [cache.path(PROMPT)]


def test_fingerprint_follows_the_files(tmp_path: Path) -> None:
    files = find_encoder(save_transformers(tmp_path, make_model(1)))
    (weights,), tokenizer, config = files.weights, files.tokenizer / "tokenizer.json", files.config
    times = (10**18, 10**18)
    os.utime(weights, ns=times)
    seen = [fingerprint(files)]
    assert fingerprint(files) == seen[0]
    os.utime(weights, ns=(10**18, 10**18 + 1))
    seen.append(fingerprint(files))
    data = bytearray(weights.read_bytes())
    for changed in (len(data) // 2, len(data) - 1):
        data[changed] ^= 1
        weights.write_bytes(data)
        os.utime(weights, ns=times)
        seen.append(fingerprint(files))
    for file in (tokenizer, config):
        file.write_text(file.read_text() + " ")
        seen.append(fingerprint(files))
    assert len(set(seen)) == 6


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg/penstock/prompts"
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_directory() == tmp_path / "home/.cache/penstock/prompts"


def test_several_prompts_load_the_encoder_once(
    files: EncoderFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, load = [], embed.UMT5
    monkeypatch.setattr(embed, "UMT5", lambda *arguments: loads.append(1) or load(*arguments))
    prompts = [PROMPT, "a dog", PROMPT]
    results = embed_prompts(prompts, files, dtype="fp32", device="cpu", cache=tmp_path)
    assert [result.text for result in results] == prompts and len(loads) == 1
    with pytest.raises(PenstockError, match="expected a list of texts"):
        embed_prompts(PROMPT, files)


def synth_without_text(model: Path) -> None:
    synth("tiny", model)
    description = json.loads((model / "model.json").read_text())
    del description["text"]
    (model / "model.json").write_text(json.dumps(description))


def test_model_directory(tmp_path: Path, encoder: Path) -> None:
    model = tmp_path / "model"
    synth_without_text(model)
    with pytest.raises(PenstockError, match=r"expected a text encoder \(entry text of model.json\), found none"):
        embed_for_model(model, [PROMPT])
    (placeholder,) = embed_for_model(model, [PROMPT], placeholder=True)
    assert np.array_equal(placeholder.embeddings, hash_embedding(PROMPT, 128, 256).embeddings)
    save_text_spec(model, TextSpec("hash"))
    assert np.array_equal(embed_for_model(model, [PROMPT])[0].embeddings, placeholder.embeddings)
    save_text_spec(model, TextSpec("umt5", path=str(encoder)))
    with pytest.raises(PenstockError, match=r"expected \[at most 128, 256\], got \[6, 64\]"):
        embed_for_model(model, [PROMPT], device="cpu")
    description = json.loads((model / "model.json").read_text())
    description["dit"]["text_dim"] = 64
    (model / "model.json").write_text(json.dumps(description))
    assert embed_for_model(model, [PROMPT], device="cpu")[0].embeddings.shape == (6, 64)


def run_command(*arguments: object) -> int:
    """What the command line does with the module, whichever commands it lists."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    command.add_arguments(parser)
    try:
        command.run(parser.parse_args([str(argument) for argument in arguments]))
    except PenstockError as error:
        print(f"penstock: error: {error}", file=sys.stderr)
        return 1
    return 0


def test_command(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    output = tmp_path / "prompt.safetensors"
    assert run_command(encoder, PROMPT, "-o", output, "--device", "cpu", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["text_dim"], result["tokens"]) == (6, 64, 6)
    assert read_prompt(output).embeddings.shape == (6, 64)
    assert len(list((tmp_path / "cache/penstock/prompts").iterdir())) == 1
    synth_without_text(tmp_path / "model")
    long = " ".join(["word"] * 200)
    assert run_command(tmp_path / "model", long, "-o", output, "--placeholder") == 0
    captured = capsys.readouterr()
    assert captured.out == f"{output}: 128 rows of 256, by hash\n"
    assert captured.err == "penstock: warning: only 128 of 201 tokens of the prompt are used\n"
    assert run_command(tmp_path / "model", PROMPT, "-o", output) == 1
    assert run_command(tmp_path / "nothing", PROMPT, "-o", output) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and "found nothing there" in errors[1]


def test_transformers_layout_end_to_end(tmp_path: Path) -> None:
    wan = find_encoder(save_wan(tmp_path / "wan", make_model(3)))
    other = find_encoder(save_transformers(tmp_path / "hf", make_model(3), sharded=True))
    assert np.array_equal(embed_one(wan).embeddings, embed_one(other).embeddings)
