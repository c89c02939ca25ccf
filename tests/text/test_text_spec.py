"""The entry "text" of model.json and where encoders are looked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.runtime.errors import PenstockError
from penstock.runtime.model import load_model
from penstock.runtime.synth import synth
from penstock.runtime.text import TextSpec, find_encoder, load_text_spec, save_text_spec

from .tiny_encoder import make_model, save_tokenizer, save_transformers, save_wan


@pytest.mark.parametrize(
    "spec",
    [
        TextSpec("umt5", ("text/a.safetensors", "text/b.safetensors"), "text/tokenizer"),
        TextSpec("umt5", path="../Wan2.1-T2V-1.3B"),
        TextSpec("hash"),
    ],
)
def test_round_trip(tmp_path: Path, spec: TextSpec) -> None:
    synth("tiny", tmp_path)
    before = json.loads((tmp_path / "model.json").read_text())
    del before["text"]
    (tmp_path / "model.json").write_text(json.dumps(before))
    assert load_text_spec(tmp_path) is None
    save_text_spec(tmp_path, spec)
    assert load_text_spec(tmp_path) == spec
    assert json.loads((tmp_path / "model.json").read_text()) == {**before, "text": spec.to_json()}
    assert load_model(tmp_path).spec.name == "tiny"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "text: expected an object with the field encoder, got None"),
        ({}, "text: expected an object with the field encoder"),
        ({"encoder": "clip"}, "text.encoder: expected one of umt5, hash, got 'clip'"),
        ({"encoder": ["umt5"]}, "text.encoder: expected one of"),
        ({"encoder": "umt5"}, "text: expected weights and tokenizer, or path"),
        ({"encoder": "umt5", "weights": ["a.pth"]}, "text: expected weights and tokenizer, or path"),
        ({"encoder": "umt5", "weights": "a.pth", "tokenizer": "t"}, "text.weights: expected a list of file names"),
        ({"encoder": "umt5", "weights": ["../a.pth"], "tokenizer": "t"}, "text.weights: expected .* inside"),
        ({"encoder": "umt5", "weights": ["a.bin"], "tokenizer": "t"}, "text.weights: expected .*safetensors, .pth"),
        ({"encoder": "umt5", "weights": [1], "tokenizer": "t"}, "text.weights: expected .* got 1"),
        ({"encoder": "umt5", "weights": ["a.pth"], "tokenizer": "/t"}, "text.tokenizer: expected a folder inside"),
        ({"encoder": "umt5", "path": "p", "tokenizer": "t"}, "text.path: expected one path and no weights"),
        ({"encoder": "umt5", "path": 3}, "text.path: expected one path"),
        ({"encoder": "umt5", "path": ""}, "text.path: expected one path"),
        ({"encoder": "umt5", "path": "a\0b"}, "text.path: expected one path"),
        ({"encoder": "hash", "path": "p"}, 'expected nothing besides encoder "hash"'),
        ({"encoder": "hash", "extra": 1}, "text: unknown fields: 'extra'"),
    ],
)
def test_bad_entry(tmp_path: Path, entry: Any, message: str) -> None:
    synth("tiny", tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**description, "text": entry}))
    with pytest.raises(PenstockError, match=message) as error:
        load_text_spec(tmp_path)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(tmp_path / "model.json"))


def test_files_inside_the_directory(tmp_path: Path) -> None:
    files = TextSpec("umt5", ("text/model.safetensors",), "text/tok").files(tmp_path)
    assert (files.weights, files.tokenizer, files.config) == (
        (tmp_path / "text/model.safetensors",), tmp_path / "text/tok", None)  # fmt: skip
    (tmp_path / "text").mkdir()
    (tmp_path / "text/config.json").write_text("{}")
    spec = TextSpec("umt5", ("text/model.safetensors",), "text/tok")
    assert spec.files(tmp_path).config == tmp_path / "text/config.json"


def test_files_outside_the_directory(tmp_path: Path) -> None:
    wan = save_wan(tmp_path / "wan", make_model(0))
    (tmp_path / "model").mkdir()
    for path in ("../wan", str(wan)):
        files = TextSpec("umt5", path=path).files(tmp_path / "model")
        assert files.weights[0].samefile(wan / "models_t5_umt5-xxl-enc-bf16.pth")
        assert files.tokenizer.samefile(wan / "google/umt5-xxl")


def test_layouts(tmp_path: Path) -> None:
    wan = save_wan(tmp_path / "wan", make_model(0))
    weights = wan / "models_t5_umt5-xxl-enc-bf16.pth"
    assert find_encoder(wan) == find_encoder(weights)
    assert find_encoder(wan).config is None  # that config.json is another model's
    diffusers = save_transformers(tmp_path / "diffusers", make_model(0))
    assert find_encoder(diffusers) == find_encoder(diffusers / "text_encoder")
    assert find_encoder(diffusers).config == diffusers / "text_encoder/config.json"
    assert find_encoder(diffusers).tokenizer == diffusers / "tokenizer"


def test_no_encoder_found(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(PenstockError) as error:
            find_encoder(path)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert message(tmp_path / "nothing").endswith("expected a text encoder, found nothing there")
    assert "expected a text encoder: models_t5*.pth" in message(tmp_path)
    (tmp_path / "note.txt").write_text("")
    assert "expected .safetensors, .pth, .pt or a folder, got '.txt'" in message(tmp_path / "note.txt")
    (tmp_path / "models_t5.pth").write_bytes(b"")
    assert "expected tokenizer.json in it, google/umt5-xxl or tokenizer, found none" in message(tmp_path)
    (tmp_path / "models_t5_2.pth").write_bytes(b"")
    assert "found several: models_t5.pth, models_t5_2.pth; name one file" in message(tmp_path)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {"a": "../x.safetensors"}}', '{"weight_map": {"a": 3}}', "["])
def test_bad_index(tmp_path: Path, index: str) -> None:
    save_tokenizer(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(PenstockError, match=r"index\.json"):
        find_encoder(tmp_path)
