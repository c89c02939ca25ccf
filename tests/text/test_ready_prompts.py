"""Prompts whose embeddings lie in the model directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from penstock.runtime.errors import PenstockError
from penstock.runtime.prompt import Prompt, write_prompt
from penstock.runtime.synth import synth
from penstock.runtime.text import UMT5_ENCODER, TextSpec, embed_for_model, load_text_spec, save_text_spec


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Its encoder is missing."""
    synth("tiny", tmp_path)
    rows = rng.standard_normal((3, 256), dtype=np.float32)
    write_prompt(tmp_path / "ready.safetensors", Prompt(rows, "a watercolour", "by hand", 3), "F32")
    save_text_spec(tmp_path, TextSpec(UMT5_ENCODER, path="nowhere", prompts=("ready.safetensors",)))
    return tmp_path


def test_a_ready_prompt_needs_no_encoder(model: Path) -> None:
    first, second = embed_for_model(model, ["a watercolour", "a watercolour"])
    assert first.encoder == "by hand" and first.embeddings.shape == (3, 256) and second == first
    with pytest.raises(PenstockError, match="nowhere: expected a text encoder"):
        embed_for_model(model, ["a watercolour", "another"])


def test_a_ready_prompt_of_the_wrong_width(model: Path) -> None:
    write_prompt(model / "ready.safetensors", Prompt(np.ones((3, 8), np.float32), "a watercolour", "", 3))
    with pytest.raises(PenstockError, match=r"expected \[at most 128, 256\], got \[3, 8\]"):
        embed_for_model(model, ["a watercolour"])


def test_the_entry_comes_back(model: Path) -> None:
    spec = load_text_spec(model)
    assert spec is not None and TextSpec.from_json(spec.to_json()) == spec and spec.prompts == ("ready.safetensors",)
    with pytest.raises(PenstockError, match=r"text.prompts: expected .safetensors files inside the directory"):
        TextSpec(UMT5_ENCODER, path="nowhere", prompts=("../ready.safetensors",))
    with pytest.raises(PenstockError, match=r"text.prompts: expected a list of file names, got 'a'"):
        TextSpec.from_json({"encoder": "umt5", "path": "nowhere", "prompts": "a"})
