"""`penstock.load`: where models come from, and the bundled one in the user's cache directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import penstock
from penstock import PenstockError, models
from penstock.runtime.prompt import Prompt
from penstock.runtime.synth import synth


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "penstock" / "models"


def test_tiny_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = penstock.load("tiny")
    monkeypatch.setattr(models, "synth", None)  # not called again
    assert penstock.load("tiny").directory == first.directory
    assert first.directory.path == cache / "tiny" and [path.name for path in cache.iterdir()] == ["tiny"]


def test_what_an_interrupted_making_left_is_replaced(cache: Path) -> None:
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / "dit.safetensors").write_bytes(b"half")
    with penstock.load("tiny").directory.open_weights() as weights:
        assert weights.infos


def test_another_process_made_it_meanwhile(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_both(preset: str, path: Path) -> None:
        synth(preset, path)
        synth(preset, cache / "tiny")

    monkeypatch.setattr(models, "synth", make_both)
    monkeypatch.setattr(models.shutil, "rmtree", lambda *_, **__: None)  # the other one comes right after it
    assert penstock.load("tiny").directory.path == cache / "tiny"


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "penstock").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PenstockError, match=r"tiny: cannot keep the model here \(penstock synth tiny DIR writes it"):
        penstock.load("tiny")


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
