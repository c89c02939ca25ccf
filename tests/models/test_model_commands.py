"""The commands about model directories: what they print, and what they pass on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from penstock.cli import main
from penstock.runtime.text import load_text_spec
from penstock.runtime.vae_spec import TaehvSpec, taehv_parameters
from tests.models.test_convert import save_pickle, wan_state
from tests.text.tiny_encoder import make_model, save_wan


def result_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert main([str(argument) for argument in (*arguments, "--json")]) == 0
    return json.loads(capsys.readouterr().out)


def test_synth_and_info_count_each_component(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = result_of(capsys, "synth", "tiny", tmp_path)
    described = result_of(capsys, "info", tmp_path)
    assert list(written["components"]) == list(described["components"]) == ["dit", "vae", "taehv"]
    for component, counts in written["components"].items():
        assert counts.items() <= described["components"][component].items()
    for count in ("tensors", "parameters", "bytes"):
        assert written[count] == described[count] == sum(part[count] for part in written["components"].values())
    assert described["components"]["vae"]["base_dim"] == 16
    assert described["components"]["taehv"]["dtypes"] == {"BF16": 128}
    assert described["text"] == {"encoder": "hash"}


def test_the_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", "tiny", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["dit", "vae", "taehv", "in"]
    assert lines[1] == "vae        194 tensors,      3,602,371 parameters, 6.9 MiB"
    assert main(["info", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"dit", "vae", "taehv", "text", "  encoder      hash"} <= set(lines)
    assert lines[-1] == "in all: 11,341,414 parameters, 21.6 MiB"


def test_convert_adds_a_component_and_a_text_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, encoder = tmp_path / "model", save_wan(tmp_path / "encoder", make_model(0))
    taehv = TaehvSpec(encoder_dim=4, decoder_dims=(4, 4, 4, 4))
    save_file({key: torch.zeros(shape) for key, shape in taehv_parameters(taehv).items()}, tmp_path / "t.safetensors")
    assert "taehv" not in result_of(capsys, "convert", save_pickle(tmp_path, wan_state()), model)
    assert result_of(capsys, "info", model)["text"] is None
    result = result_of(capsys, "convert", tmp_path / "t.safetensors", model, "--text", encoder)
    assert result["taehv"] == taehv.to_json() and result["name"] == "model"
    assert load_text_spec(model).files(model).weights == (encoder / "models_t5_umt5-xxl-enc-bf16.pth",)
    assert main(["convert", str(tmp_path / "t.safetensors"), str(tmp_path / "none")]) == 1
    assert "to add taehv to: convert a DiT first" in capsys.readouterr().err
