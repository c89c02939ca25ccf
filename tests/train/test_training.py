"""A few steps of every stage on few and small clips: the losses fall, a run goes on where it was, the model loads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import penstock
from penstock.evaluation.clips import ProceduralClip
from penstock.evaluation.styles import STYLES
from penstock.runtime.text.tokenizer import PromptTokenizer
from tools.train_tiny import checkpoint
from tools.train_tiny import latents as latents_module
from tools.train_tiny import train_dit as train_dit_module
from tools.train_tiny import train_vae as vae_module
from tools.train_tiny.data import ClipSource
from tools.train_tiny.dit import WanDit
from tools.train_tiny.export import export
from tools.train_tiny.latents import make_latents
from tools.train_tiny.muon import _orthogonal
from tools.train_tiny.text import TEXT_LEN, byte_ids, text_encoder, write_tokenizer
from tools.train_tiny.train_dit import LatentFiles, train_dit
from tools.train_tiny.train_vae import STAGES, train_vae

SOURCE = ClipSource(seed=3)
PICTURES = replace(STAGES[0], steps=16, batch=2, side=32)


@pytest.fixture(autouse=True)
def small_and_plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and nothing compiled: that takes longer than these steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(vae_module, "COMPILED", False)
    monkeypatch.setattr(latents_module, "SIZES", ((32, 32),))
    monkeypatch.setattr(latents_module, "CLIPS", 3)
    yield
    torch.set_num_threads(threads)


def test_all_stages(tmp_path: Path) -> None:
    losses = train_vae(tmp_path, SOURCE, PICTURES)
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    train_vae(tmp_path, SOURCE, replace(STAGES[1], steps=1, side=16))
    make_latents(tmp_path, SOURCE, 1)
    train_dit(tmp_path, seed=3, steps=1, batch=4)
    before = dit_loss(tmp_path)
    train_dit(tmp_path, seed=3, steps=12, batch=4)
    assert dit_loss(tmp_path) < 0.8 * before
    export(tmp_path, tmp_path / "model")
    model = penstock.load(tmp_path / "model")
    assert model.settings["noise_scale"] == 0.33
    with model.session(STYLES[0].prompt, height=48, width=64) as session:
        clip = [ProceduralClip(48, 64, 1).frame(i) for i in range(9)]
        frames = np.concatenate([session.push(clip), session.flush()])
    assert frames.shape == (9, 48, 64, 3) and frames.std() > 0


@torch.inference_mode()
def dit_loss(folder: Path) -> float:
    """Of the checkpoint, on a batch and at noise levels that are always the same: they say more than a few steps do."""
    dit, text, files = WanDit(train_dit_module.SPEC), text_encoder(), LatentFiles(folder)
    torch.nn.ModuleDict({"dit": dit, "text": text}).load_state_dict(checkpoint.load(folder / "dit.pt")["model"])
    rng = np.random.default_rng(5)
    torch.manual_seed(5)
    return float(train_dit_module._loss(dit, text, files.batch(rng, 12), rng))


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    stage = replace(PICTURES, steps=4)
    losses = train_vae(whole, SOURCE, stage)
    first = vae_module.train_vae(parts, SOURCE, stage, until=2)
    assert [*first, *train_vae(parts, SOURCE, stage, workers=1)] == losses


@pytest.mark.parametrize("rows", [40, 90])
def test_muon_flattens_the_singular_values(rng: np.random.Generator, rows: int) -> None:
    """Of a matrix whose singular values span a factor of 30; the published iteration leaves them around 1."""
    u, _ = np.linalg.qr(rng.standard_normal((rows, 24)))
    v, _ = np.linalg.qr(rng.standard_normal((24, 24)))
    matrix = torch.from_numpy(u * np.geomspace(1, 30, 24) @ v).float()
    for oriented in (matrix, matrix.T):
        values = torch.linalg.svdvals(_orthogonal(oriented))
        assert values.min() >= 0.6 and values.max() <= 1.25
    torch.testing.assert_close(_orthogonal(matrix.T), _orthogonal(matrix).T, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("text", [STYLES[6].prompt, "Aquarelle – détrempée 漢字", "x" * 100])
def test_the_tokenizer_is_bytes(tmp_path: Path, text: str) -> None:
    write_tokenizer(tmp_path)
    assert list(PromptTokenizer(tmp_path).encode(text, TEXT_LEN).ids) == byte_ids(text)
