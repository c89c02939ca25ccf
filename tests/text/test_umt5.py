"""The UMT5 encoder against transformers, from each layout, and what it refuses."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import UMT5EncoderModel

from penstock.runtime.errors import PenstockError
from penstock.runtime.text import find_encoder, umt5
from penstock.runtime.text.umt5 import UMT5
from tests.helpers import relative_l2

from .tiny_encoder import (
    ids_of,
    make_model,
    original_state,
    save_tokenizer,
    save_transformers,
    save_untied,
    save_wan,
)

IDS = ids_of("a cat walks through grass towards the camera neon rain xyzzy a a a a a a a a a a a a a a a a a a a a a")


@pytest.fixture
def model(rng: np.random.Generator) -> UMT5EncoderModel:
    return make_model(int(rng.integers(2**31)))


def expected(model: UMT5EncoderModel, ids: list[int] = IDS) -> np.ndarray:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0].float().numpy()


@pytest.mark.parametrize("layout", ["wan", "transformers", "sharded"])
def test_same_as_transformers(model: UMT5EncoderModel, tmp_path: Path, layout: str) -> None:
    path = save_wan(tmp_path, model) if layout == "wan" else save_transformers(tmp_path, model, layout == "sharded")
    files = find_encoder(path)
    assert (len(files.weights) > 1) == (layout == "sharded")
    with UMT5(files, "fp32", "cpu") as encoder:
        actual = encoder.encode(IDS)
    assert actual.shape == (len(IDS), 64) and actual.dtype == np.float32
    assert relative_l2(actual, expected(model)) <= 1e-6


def test_tied_copy_and_decoder_weights(model: UMT5EncoderModel, tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    save_untied(tmp_path / "model.safetensors", model)
    with UMT5(find_encoder(tmp_path), "fp32", "cpu") as encoder:
        assert relative_l2(encoder.encode(IDS), expected(model)) <= 1e-6


def test_each_layer_has_its_own_bias_table(model: UMT5EncoderModel, tmp_path: Path) -> None:
    state = original_state(model)
    tables = [key for key in state if "pos_embedding" in key]
    state[tables[1]], state[tables[2]] = state[tables[2]], state[tables[1]]
    save_tokenizer(tmp_path)
    torch.save(state, tmp_path / "models_t5.pth")
    with UMT5(find_encoder(tmp_path), "fp32", "cpu") as encoder:
        assert relative_l2(encoder.encode(IDS), expected(model)) > 1e-2


def test_masked_padding_changes_nothing(model: UMT5EncoderModel, tmp_path: Path) -> None:
    """What the published code does: pad to text_len, mask, zero the rows past the prompt."""
    text_len, rows = 64, len(IDS)
    mask = torch.tensor([[1] * rows + [0] * (text_len - rows)])
    padded = torch.tensor([IDS + [0] * (text_len - rows)])
    with torch.inference_mode():
        published = (model(input_ids=padded, attention_mask=mask).last_hidden_state * mask[..., None])[0]
    with UMT5(find_encoder(save_wan(tmp_path, model)), "fp32", "cpu") as encoder:
        ours = np.pad(encoder.encode(IDS), ((0, text_len - rows), (0, 0)))
    assert relative_l2(ours, published) <= 1e-6


def test_bf16_weights_stay_bf16(tmp_path: Path, rng: np.random.Generator) -> None:
    model = make_model(int(rng.integers(2**31)), torch.bfloat16)
    files = find_encoder(save_wan(tmp_path, model))
    with UMT5(files, "bf16", "cpu") as encoder:
        assert np.array_equal(encoder.encode(IDS), expected(model))  # the same bits
    with UMT5(files, "fp32", "cpu") as encoder:
        assert relative_l2(encoder.encode(IDS), expected(model.float())) <= 1e-6


def test_weights_are_pages_of_their_file(tmp_path: Path, rng: np.random.Generator) -> None:
    for path in (tmp_path / "wan", tmp_path / "transformers"):
        path.mkdir()
        model = make_model(int(rng.integers(2**31)), torch.bfloat16)
        files = find_encoder(save_wan(path, model) if path.name == "wan" else save_transformers(path, model))
        with UMT5(files, "bf16", "cpu") as encoder:
            pointer = encoder._model.shared.weight.data_ptr()
            (mapping,) = (line for line in Path("/proc/self/maps").read_text().splitlines() if _covers(line, pointer))
            assert mapping.endswith(str(files.weights[0]))


def _covers(line: str, pointer: int) -> bool:
    begin, end = (int(value, 16) for value in line.split()[0].split("-"))
    return begin <= pointer < end


def test_weights_are_let_go(model: UMT5EncoderModel, tmp_path: Path) -> None:
    with UMT5(find_encoder(save_wan(tmp_path, model)), "fp32", "cpu") as encoder:
        weight = weakref.ref(encoder._model.shared.weight)
        assert weight() is not None
    gc.collect()
    assert weight() is None


def test_no_dropout(model: UMT5EncoderModel, tmp_path: Path) -> None:
    with UMT5(find_encoder(save_wan(tmp_path, model)), "fp32", "cpu") as encoder:
        assert np.array_equal(encoder.encode(IDS), encoder.encode(IDS))


def test_malicious_pickle_does_not_run(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    save_tokenizer(tmp_path)
    torch.save({"token_embedding.weight": Malicious()}, tmp_path / "models_t5.pth")
    with pytest.raises(PenstockError, match="refused: expected plain tensors, but it needs code"):
        UMT5(find_encoder(tmp_path), "fp32", "cpu")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("blocks.1.attn.q.weight"),
            r"missing: encoder.block.1.layer.0.SelfAttention.q.weight \[32",
        ),
        (lambda s: s.update({"blocks.0.attn.z.weight": torch.ones(1)}), "unexpected: 'blocks.0.attn.z.weight'"),
        (lambda s: s.update({"norm.weight": torch.ones(63)}), r"final_layer_norm.weight: expected shape \[64\], got"),
        (lambda s: s.update({"norm.weight": torch.ones(64).long()}), "'norm.weight': expected a bf16, fp16 or fp32"),
        (lambda s: s.update({"norm.weight": "text"}), "'norm.weight': expected a bf16, fp16 or fp32 tensor, got str"),
        (
            lambda s: s.pop("blocks.0.attn.q.weight"),
            "expected a matrix, which the dimensions are read from, got no",
        ),
        (lambda s: s.clear(), "shared.weight|SelfAttention"),
    ],
)
def test_incomplete_weights(model: UMT5EncoderModel, tmp_path: Path, change, message: str) -> None:
    state = original_state(model)
    change(state)
    save_tokenizer(tmp_path)
    torch.save(state, tmp_path / "models_t5.pth")
    with pytest.raises(PenstockError, match=message) as error:
        UMT5(find_encoder(tmp_path), "fp32", "cpu")
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"model_type": "t5"}', "model_type: expected 'umt5', got 't5'"),
        ('{"feed_forward_proj": "relu"}', "feed_forward_proj: expected 'gated-gelu', got 'relu'"),
        ('{"layer_norm_epsilon": -1.0}', "layer_norm_epsilon: expected a positive float, got -1.0"),
        ("[]", "expected a JSON object"),
    ],
)
def test_config_of_another_model(model: UMT5EncoderModel, tmp_path: Path, config: str, message: str) -> None:
    save_transformers(tmp_path, model)
    (tmp_path / "text_encoder" / "config.json").write_text(config)
    with pytest.raises(PenstockError, match=message):
        UMT5(find_encoder(tmp_path), "fp32", "cpu")


def test_token_ids_past_the_vocabulary(model: UMT5EncoderModel, tmp_path: Path) -> None:
    with (
        UMT5(find_encoder(save_wan(tmp_path, model)), "fp32", "cpu") as encoder,
        pytest.raises(PenstockError, match="expected token ids below 15, the vocabulary of the encoder, got 99"),
    ):
        encoder.encode([3, 99])


def test_settings_and_missing_libraries(
    model: UMT5EncoderModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_encoder(save_wan(tmp_path, model))
    with pytest.raises(PenstockError, match="dtype: expected one of bf16, fp32, got 'fp16'"):
        UMT5(files, "fp16", "cpu")
    with pytest.raises(PenstockError, match="device: expected one of auto, cpu, cuda, got 'gpu'"):
        UMT5(files, "fp32", "gpu")
    if not torch.cuda.is_available():
        with pytest.raises(PenstockError, match="expected a GPU for cuda, but torch finds none"):
            UMT5(files, "fp32", "cuda")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PenstockError, match=r"needs transformers, which .* pip install 'penstock\[text\]'"):
        UMT5(files, "fp32", "cpu")


def test_auto_device_needs_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1000, 2000))
    assert umt5._pick_device(torch, "auto", 800) == "cuda"
    assert umt5._pick_device(torch, "auto", 900) == "cpu"
