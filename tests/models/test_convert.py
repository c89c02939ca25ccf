"""Conversion: every accepted layout must give the same bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from penstock.runtime.convert import convert
from penstock.runtime.dit_spec import DitSpec, dit_parameters
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import ModelDir, load_model
from penstock.runtime.wan_keys import to_diffusers_key

State = dict[str, torch.Tensor]

SPEC = DitSpec(dim=48, ffn_dim=80, heads=2, layers=2, text_dim=40, freq_dim=32)
ORIGINAL_CONFIG = {"_class_name": "WanModel", "dim": 48, "num_heads": 2, "num_layers": 2, "text_len": 512, "eps": 1e-6}
DIFFUSERS_CONFIG = {"num_attention_heads": 2, "attention_head_dim": 24, "num_layers": 2, "ffn_dim": 80}


def wan_state(dtype: torch.dtype = torch.bfloat16, spec: DitSpec = SPEC) -> State:
    generator = torch.Generator().manual_seed(11)
    shapes = dit_parameters(spec).items()
    return {key: torch.randn(shape, generator=generator).to(dtype) for key, shape in shapes}


def save_pickle(folder: Path, content: Any, name: str = "model.pt", config: Any = ORIGINAL_CONFIG, **how: Any) -> Path:
    torch.save(content, folder / name, **how)
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / name


def prefixed(state: State, prefix: str = "model.") -> State:
    return {prefix + key: value for key, value in state.items()}


def as_diffusers(state: State) -> State:
    return {to_diffusers_key(key) or "": value for key, value in state.items()}


def assert_same_bits(model: ModelDir, state: State) -> None:
    loaded = load_file(model.path / "dit.safetensors")
    assert list(loaded) and loaded.keys() == state.keys()
    for key, tensor in state.items():
        assert loaded[key].dtype == tensor.dtype, key
        assert loaded[key].shape == tensor.shape, key
        assert loaded[key].view(torch.uint8).equal(tensor.contiguous().view(torch.uint8)), key


NOISE = {"model.head.modulation": torch.zeros(1, 2, 48)}  # what must lose against the preferred entry
PICKLES: dict[str, Callable[[State], Any]] = {
    "generator": lambda state: {"generator": state, "generator_ema": NOISE, "critic": NOISE, "step": 3},
    "generator with prefix": lambda state: {"generator_ema": NOISE, "generator": prefixed(state)},
    "generator_ema": lambda state: {"state_dict": NOISE, "generator_ema": prefixed(state)},
    "state_dict": lambda state: {"epoch": 1, "state_dict": state},
    "flat": lambda state: state,
    "flat with prefix": prefixed,
    "prefix here and there": lambda state: {("model." if "attn" in k else "") + k: v for k, v in state.items()},
    "diffusers names": as_diffusers,
    "parameters": lambda state: {k: torch.nn.Parameter(v) for k, v in state.items()},
    "not contiguous": lambda state: {k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in state.items()},
}


@pytest.mark.parametrize("nesting", PICKLES)
def test_every_pickle_nesting_gives_the_same_bits(tmp_path: Path, nesting: str) -> None:
    state = wan_state()
    model = convert(save_pickle(tmp_path, PICKLES[nesting](state)), tmp_path / "out")
    assert model == load_model(tmp_path / "out") and model.spec.dit == SPEC and model.spec.name == "model"
    assert_same_bits(model, state)
    with model.open_weights() as weights:
        assert torch.from_numpy(weights.numpy("dit.head.head.weight")).equal(state["head.head.weight"].float())


def test_pickles_of_old_torch_and_mixed_dtypes(tmp_path: Path) -> None:
    state = wan_state(torch.float16)
    state["head.modulation"] = state["head.modulation"].float()
    state["head.head.bias"] = state["head.head.bias"].bfloat16()
    source = save_pickle(tmp_path, {"generator": state}, "old.pth", _use_new_zipfile_serialization=False)
    assert_same_bits(convert(source, tmp_path / "out"), state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("layout", ["wan", "prefixed", "diffusers"])
def test_one_safetensors_file(tmp_path: Path, dtype: torch.dtype, layout: str) -> None:
    state = wan_state(dtype)
    saved = {"wan": state, "prefixed": prefixed(state), "diffusers": as_diffusers(state)}[layout]
    save_file(saved, tmp_path / "weights.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(DIFFUSERS_CONFIG))
    calls: list[tuple[int, int]] = []
    source = tmp_path / "weights.safetensors"
    model = convert(source, tmp_path / "out", "mine", lambda done, total: calls.append((done, total)))
    assert model.spec.dit == SPEC and model.spec.name == "mine"
    assert_same_bits(model, state)
    size = sum(tensor.nbytes for tensor in state.values())
    assert calls[-1] == (size, size) and all(total == size for _, total in calls) and len(calls) >= len(state)


@pytest.mark.parametrize("folder", ["", "transformer"])
@pytest.mark.parametrize("shard", [None, "60KB"])
def test_what_diffusers_saves(tmp_path: Path, folder: str, shard: str | None) -> None:
    torch.manual_seed(4)
    theirs = WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=12, num_layers=3, ffn_dim=72, text_dim=20, freq_dim=16, eps=1e-5
    )
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    theirs.save_pretrained(tmp_path / "src" / folder, **({"max_shard_size": shard} if shard else {}))
    files = len(list((tmp_path / "src" / folder).glob("*.safetensors")))
    assert files == 1 if shard is None else files > 3
    model = convert(tmp_path / "src", tmp_path / "out")
    assert model.spec.dit == DitSpec(48, 72, heads=4, layers=3, text_dim=20, freq_dim=16, eps=1e-5)
    assert model.spec.name == "src"
    loaded, expected = load_file(model.path / "dit.safetensors"), theirs.state_dict()
    assert len(loaded) == len(expected)
    for key, tensor in loaded.items():
        assert tensor.equal(expected[to_diffusers_key(key) or ""]), key


def test_the_original_sharded_repository(tmp_path: Path) -> None:
    state, source = wan_state(torch.float32), tmp_path / "src"
    write_shards(source, state)
    assert_same_bits(convert(source, tmp_path / "out"), state)
    assert load_model(tmp_path / "out").spec.dit == SPEC


def write_shards(folder: Path, state: State) -> Path:
    """Two shards, their index and the original config.json; returns the index."""
    folder.mkdir()
    names = list(state)
    weight_map = {}
    for number, part in enumerate((names[:30], names[30:]), 1):
        shard = f"diffusion_pytorch_model-{number:05}-of-00002.safetensors"
        save_file({name: state[name] for name in part}, folder / shard)
        weight_map.update(dict.fromkeys(part, shard))
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(ORIGINAL_CONFIG))
    return index


def test_the_plain_file_wins_over_shards_without_an_index(tmp_path: Path) -> None:
    source, state = tmp_path / "src", wan_state()
    write_shards(source, wan_state(torch.float32)).unlink()
    save_file(state, source / "diffusion_pytorch_model.safetensors")
    assert_same_bits(convert(source, tmp_path / "out"), state)


def test_dimensions_without_a_config(tmp_path: Path) -> None:
    spec = DitSpec(256, 24, heads=2, layers=1, in_channels=36, out_channels=8, text_dim=10, freq_dim=6)
    source = save_pickle(tmp_path, {"generator": wan_state(spec=spec)}, "causal.pt", config=None)
    model = convert(source, tmp_path / "out")
    assert model.spec.dit == spec and spec.text_len == 512 and model.spec.name == "causal"


def test_what_only_the_config_knows(tmp_path: Path) -> None:
    config = {**ORIGINAL_CONFIG, "num_heads": 6, "text_len": 77, "eps": 1e-5, "out_dim": None}
    dit = convert(save_pickle(tmp_path, wan_state(), config=config), tmp_path / "out").spec.dit
    assert (dit.heads, dit.text_len, dit.eps, dit.out_channels) == (6, 77, 1e-5, 16)


def test_the_target_is_new_or_a_model_directory(tmp_path: Path) -> None:
    state, target = wan_state(), tmp_path / "out"
    source = save_pickle(tmp_path, state)
    target.mkdir()
    (target / "thesis.txt").write_text("precious")
    with pytest.raises(PenstockError, match=r"out: not empty and not a penstock model directory"):
        convert(source, target)
    assert [file.name for file in target.iterdir()] == ["thesis.txt"]
    (target / "thesis.txt").unlink()
    convert(source, target, "first")
    changed = {key: value + 1 for key, value in state.items()}
    model = convert(save_pickle(tmp_path, changed), target, "second")
    assert load_model(target).spec.name == "second"
    assert_same_bits(model, changed)
    # A model directory's own weights are a source too, even for that directory.
    shutil.copy(tmp_path / "config.json", target)
    assert_same_bits(convert(target / "dit.safetensors", target), changed)
