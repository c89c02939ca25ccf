"""`penstock.load`: where models come from, and the one that comes with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import penstock
from penstock import PenstockError, models
from penstock.cli import main
from penstock.evaluation.styles import STYLES
from penstock.runtime.prompt import Prompt, read_prompt
from penstock.runtime.synth import synth
from penstock.runtime.text import embed_prompts, find_encoder


def test_tiny_comes_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, sound, within its limit of size, with its styles' prompts ready; loading it writes nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model = penstock.load("tiny")
    with model.directory.open_weights() as weights:
        assert set(model.directory.weight_files) == {"dit", "vae"} and weights.infos
    assert sum(path.stat().st_size for path in model.directory.path.rglob("*")) <= 20 << 20
    assert [model.embed(style.prompt).text for style in STYLES] == [style.prompt for style in STYLES]
    assert not list(tmp_path.iterdir())


def test_tiny_takes_other_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own text encoder, whose embeddings of a ready prompt are the ready ones."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = penstock.load("tiny")
    assert model.embed("turn it into sepia").tokens == len("turn it into sepia") + 1
    ready = model.embed(STYLES[0].prompt)
    path = model.directory.path / "text"
    (encoded,) = embed_prompts([STYLES[0].prompt], find_encoder(path), model.directory.spec.dit.text_len)
    np.testing.assert_array_equal(encoded.embeddings, ready.embeddings)


def test_the_commands_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """build, info and embed take it by its name, as run does."""
    monkeypatch.chdir(tmp_path)
    prompt = STYLES[0].prompt
    assert main(["build", "tiny", "engine", "--size", "48x64", "--prompt", prompt]) == 0
    assert main(["embed", "tiny", prompt, "-o", "prompt.safetensors"]) == main(["info", "tiny"]) == 0
    built, embedded = read_prompt("engine/prompt.safetensors"), read_prompt("prompt.safetensors")
    np.testing.assert_array_equal(built.embeddings, embedded.embeddings)


def test_a_directory_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synth("tiny", tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert penstock.load("tiny").directory.path == Path("tiny")


def test_a_preset_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PenstockError, match=r"^wan2.1-t2v-14b: a preset, not a directory; .*penstock synth"):
        penstock.load("wan2.1-t2v-14b")


def test_a_prompt_is_checked_before_the_engine_is_made(model: models.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "create_engine", None)
    rows = Prompt(embeddings=np.zeros((129, 256), np.float32), text="", encoder="", tokens=129)
    with pytest.raises(PenstockError, match=r"expected \[at most 128, 256\], got \[129, 256\]"):
        model.session(rows, height=48, width=64)


def test_a_prompt_of_another_type(model: models.Model) -> None:
    with pytest.raises(PenstockError, match=r"^prompt: expected text or a Prompt, got int$"):
        model.session(5, height=48, width=64)
