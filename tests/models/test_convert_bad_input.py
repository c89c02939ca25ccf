"""Conversion of what cannot be converted: one clear message each, no code run, nothing written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from penstock.runtime.convert import convert
from penstock.runtime.dit_spec import DitSpec, dit_parameters
from penstock.runtime.errors import PenstockError
from penstock.runtime.wan_keys import to_diffusers_key

State = dict[str, torch.Tensor]

CONFIG = {"num_heads": 2, "text_len": 512}


def wan_state() -> State:
    spec = DitSpec(dim=48, ffn_dim=80, heads=2, layers=2, text_dim=40, freq_dim=32)
    return {key: torch.zeros(shape) for key, shape in dit_parameters(spec).items()}


def save_pickle(folder: Path, content: Any, config: Any = CONFIG, **how: Any) -> Path:
    torch.save(content, folder / "model.pt", **how)
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / "model.pt"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "the number of heads is unknown: no config.json names it, and dim 48 is not a multiple of 128"),
        ({"num_heads": 5}, "dit.heads: expected a divisor of dim 48, got 5"),
        ({"num_heads": "2"}, "dit.heads: expected an integer from 1 to"),
        ({"num_heads": 2, "dim": 64}, "config.json says dim is 64, but the weights have 48"),
        ({"num_heads": 2, "num_layers": 3}, "config.json says layers is 3, but the weights have 2"),
        ({"num_heads": 2, "in_channels": 36}, "config.json says in_channels is 36, but the weights have 16"),
        ({"num_attention_heads": 2, "attention_head_dim": 12}, "config.json says attention_head_dim is 12, but dim 48"),
    ],
)
def test_a_config_that_does_not_fit(tmp_path: Path, config: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(PenstockError, match=message) as caught:
        convert(save_pickle(tmp_path, wan_state(), config=config), tmp_path / "out")
    assert "\n" not in str(caught.value) and "model.pt: " in str(caught.value)
    assert not (tmp_path / "out").exists()


class Executes:
    """A pickle of this creates a file when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    proof = tmp_path / "proof"
    content = {"generator": {**wan_state(), "x": Executes(proof)}}
    source = save_pickle(tmp_path, content, _use_new_zipfile_serialization=zipped)
    torch.load(source, weights_only=False)
    proof.rmdir()  # it does run where it is let; now it must not
    with pytest.raises(PenstockError, match=r"refused: expected plain tensors, but it needs code: \w+.mkdir") as caught:
        convert(source, tmp_path / "out")
    assert not proof.exists() and "\n" not in str(caught.value) and str(caught.value).startswith(str(source))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a state dict at the top, got list"),
        ({"generator": 3}, "expected a state dict at 'generator', got int"),
        ({}, "expected the keys of a Wan DiT, a Wan VAE or a TAEHV, got none"),
        ({"encoder.conv1.weight": torch.zeros(1)}, "got 1 others, such as 'encoder.conv1.weight'"),
        ({"head.head.bias": torch.zeros(4)}, "missing: patch_embedding.weight, which the dimensions"),
        ({**wan_state(), "model.head.modulation": torch.zeros(1)}, "'head.modulation' are the same weight"),
        ({**wan_state(), "patch_embedding.weight": torch.zeros(48, 64)}, "weight: expected 5 dimensions, got shape"),
    ],
)
def test_a_pickle_without_a_dit(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(PenstockError, match=message) as caught:
        convert(save_pickle(tmp_path, content), tmp_path / "out")
    assert "\n" not in str(caught.value) and "model.pt: " in str(caught.value)


def test_entries_that_are_not_weights_are_listed(tmp_path: Path) -> None:
    state: dict[Any, Any] = {**wan_state(), "step": 4, "head.head.bias": torch.zeros(64, dtype=torch.int8)}
    state[7] = state.pop("head.modulation")
    state["patch_embedding.bias"] = torch.zeros(48).to_sparse()
    with pytest.raises(PenstockError) as caught:
        convert(save_pickle(tmp_path, state), tmp_path / "out")
    expected = "expected a bf16, fp16 or fp32 tensor under a text key, got"
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{tmp_path}/model.pt: 4 entries are not weights:"
    assert sorted(lines[1:]) == [
        f"  'head.head.bias': {expected} a torch.strided tensor of torch.int8",
        f"  'patch_embedding.bias': {expected} a torch.sparse_coo tensor of torch.float32",
        f"  'step': {expected} int",
        f"  7: {expected} a torch.strided tensor of torch.float32",
    ]


@pytest.mark.parametrize("layout", ["wan", "diffusers"])
def test_missing_and_unexpected_keys_are_listed(tmp_path: Path, layout: str) -> None:
    state = wan_state()
    state["blocks.1.norm3.bias"] = torch.zeros(49)
    state["head.head.bias"] = state["head.head.bias"].double()
    del state["blocks.0.self_attn.q.weight"]
    saved = state if layout == "wan" else {to_diffusers_key(key) or "": value for key, value in state.items()}
    save_file({**saved, "img_emb.proj.weight": torch.zeros(2)}, tmp_path / "a.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(PenstockError) as caught:
        convert(tmp_path / "a.safetensors", tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{tmp_path}/a.safetensors: 4 problems in the weights:"
    assert sorted(lines[1:]) == [
        "  blocks.1.norm3.bias: expected shape [48], got [49]",
        "  head.head.bias: expected dtype BF16 or F16 or F32, got F64",
        "  missing: blocks.0.self_attn.q.weight [48, 48]",
        "  unexpected: 'img_emb.proj.weight' [2]",
    ]
    assert not (tmp_path / "out").exists()


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    state = {key: value for key, value in wan_state().items() if "attn" not in key or "blocks.0" not in key}
    extra = {f"extra.{index}": torch.zeros(1) for index in range(30)}
    with pytest.raises(PenstockError) as caught:
        convert(save_pickle(tmp_path, {**state, **extra}), tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert len(lines) == 22 and "50 problems" in lines[0] and lines[21] == "  ... and 30 more"


def test_a_damaged_index(tmp_path: Path) -> None:
    source, state = tmp_path / "src", wan_state()
    source.mkdir()
    shard = "diffusion_pytorch_model-00001-of-00001.safetensors"
    save_file(state, source / shard)
    index = source / "diffusion_pytorch_model.safetensors.index.json"
    good = dict.fromkeys(state, shard)
    for weight_map, message in (
        ({**good, "x": "b.safetensors"}, "1 of its 2 shards are missing:\n  b.safetensors"),
        ({**good, "gone": shard}, "1 keys are in none of the shards:\n  'gone': diffusion_pytorch_model-00001"),
        (
            {**good, "x": "../a.safetensors"},
            "'x': expected the name of a file beside the index, got '../a.safete",
        ),
        ({**good, "x": 3}, "'x': expected the name of a file beside the index, got 3"),
        ([], r"weight_map: expected an object of key to file name, got \[\]"),
        (None, "weight_map: expected an object of key to file name, got None"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(PenstockError, match=f"index.json: {message}"):
            convert(source, tmp_path / "out")
    index.write_text("{")
    with pytest.raises(PenstockError, match=r"index.json: expected UTF-8 JSON"):
        convert(source, tmp_path / "out")


def test_a_directory_without_one_set_of_weights(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    with pytest.raises(PenstockError, match=r"src: expected diffusion_pytorch_model.*found none"):
        convert(source, tmp_path / "out")
    save_file(wan_state(), source / "diffusion_pytorch_model.fp16.safetensors")
    (source / "config.json").write_text("[]")
    with pytest.raises(PenstockError, match=r"config.json: expected a JSON object, got list"):
        convert(source, tmp_path / "out")
    save_file(wan_state(), source / "diffusion_pytorch_model.bf16.safetensors")
    with pytest.raises(PenstockError, match=r"one set of weights, found several: diffusion_pytorch_model.bf16"):
        convert(source, tmp_path / "out")
    for name in ("a", "b"):
        (source / f"diffusion_pytorch_model.{name}.safetensors.index.json").touch()
    with pytest.raises(PenstockError, match=r"one set of weights, found several: .*a.safetensors.index.json"):
        convert(source, tmp_path / "out")
    save_file({"head.modulation": torch.zeros(1)}, source / "c.safetensors")
    for name in ("a", "b"):
        (source / f"diffusion_pytorch_model.{name}.safetensors.index.json").unlink()
    weight_map = {"a": "c.safetensors", "b": "diffusion_pytorch_model.fp16.safetensors"}
    (source / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(PenstockError, match=r"fp16.safetensors: tensor 'head.modulation' is also in c.safetensors"):
        convert(source, tmp_path / "out")


def test_a_source_that_is_no_checkpoint(tmp_path: Path) -> None:
    source = save_pickle(tmp_path, wan_state())
    content = source.read_bytes()
    for damaged in (content[: len(content) // 2], b"garbage" * 50, b""):
        source.write_bytes(damaged)
        with pytest.raises(PenstockError, match=r"expected a torch checkpoint, but it cannot be read") as caught:
            convert(source, tmp_path / "out")
        assert "\n" not in str(caught.value)
    (tmp_path / "a.ckpt").touch()
    (tmp_path / "a.safetensors").write_bytes(b"{}")
    for name, message in (
        ("none.pt", "expected a checkpoint file or directory, found nothing there"),
        ("a.ckpt", "expected a .pt, .pth or .safetensors file or a directory, got '.ckpt'"),
        ("a.safetensors", "at least 8 bytes, got 2"),
    ):
        with pytest.raises(PenstockError, match=message):
            convert(tmp_path / name, tmp_path / "out")


def test_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save_pickle(tmp_path, wan_state())
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(PenstockError, match=r"model.pt: reading a torch checkpoint needs torch: install penstock"):
        convert(source, tmp_path / "out")
