"""Specs, presets and model directories: against the published counts, against diffusers, and against bad input."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel

from penstock.runtime.dit_spec import DitSpec, dit_parameters
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import PRESETS, ModelSpec, load_model, prepare_model_dir, preset, save_model_spec
from penstock.runtime.safetensors_io import TensorInfo, write_safetensors
from penstock.runtime.wan_keys import to_wan_key
from penstock.runtime.weights import weight_problems

SMALL = DitSpec(dim=8, ffn_dim=12, heads=2, layers=2, text_len=4, text_dim=6, freq_dim=4)


def write_weights(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str = "F32") -> None:
    """Weights whose values are the position of the tensor in `shapes`."""
    infos = [TensorInfo.of(name, dtype, shape) for name, shape in shapes.items()]
    position = {name: index for index, name in enumerate(shapes)}
    write_safetensors(path, infos, lambda info: [np.full(info.shape, position[info.name], np.float32)])


@pytest.fixture
def small_dir(tmp_path: Path) -> Path:
    """A model directory of two shards, one of them in a folder."""
    shapes = dit_parameters(SMALL)
    names = list(shapes)
    (tmp_path / "more").mkdir()
    write_weights(tmp_path / "a.safetensors", {name: shapes[name] for name in names[:20]})
    write_weights(tmp_path / "more" / "b.safetensors", {name: shapes[name] for name in names[20:]})
    save_model_spec(tmp_path, ModelSpec("small", SMALL), {"dit": ["a.safetensors", "more/b.safetensors"]})
    return tmp_path


def edit(directory: Path, **changes: Any) -> None:
    """Change top-level fields of model.json, and those of "dit" given as dit={...}; the value `...` removes one."""
    file = directory / "model.json"
    data = json.loads(file.read_text())
    for target, values in ((data["dit"], changes.pop("dit", {})), (data, changes)):
        for key, value in values.items():
            target[key] = value
            if value is ...:
                del target[key]
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [("wan2.1-t2v-1.3b", 825, 1_418_996_800), ("wan2.1-t2v-14b", 1095, 14_288_491_584)],
)
def test_the_published_counts(name: str, tensors: int, parameters: int) -> None:
    shapes = dit_parameters(preset(name).dit)
    assert len(shapes) == tensors
    assert sum(math.prod(shape) for shape in shapes.values()) == parameters


@pytest.mark.parametrize("name", PRESETS)
def test_keys_and_shapes_are_those_of_diffusers(name: str) -> None:
    dit = preset(name).dit
    with torch.device("meta"):
        model = WanTransformer3DModel(
            num_attention_heads=dit.heads,
            attention_head_dim=dit.head_dim,
            in_channels=dit.in_channels,
            out_channels=dit.out_channels,
            num_layers=dit.layers,
            ffn_dim=dit.ffn_dim,
            text_dim=dit.text_dim,
            freq_dim=dit.freq_dim,
        )
    theirs = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert {to_wan_key("diffusers", key): shape for key, shape in theirs.items()} == dit_parameters(dit)


def test_keys_are_those_of_the_specification() -> None:
    shapes = dit_parameters(preset("wan2.1-t2v-1.3b").dit)
    assert shapes["patch_embedding.weight"] == (1536, 16, 1, 2, 2)
    assert shapes["text_embedding.0.weight"] == (1536, 4096) and shapes["time_embedding.0.weight"] == (1536, 256)
    assert shapes["time_projection.1.weight"] == (9216, 1536) and shapes["time_projection.1.bias"] == (9216,)
    assert shapes["blocks.29.modulation"] == (1, 6, 1536) and "blocks.30.modulation" not in shapes
    assert shapes["blocks.0.self_attn.o.weight"] == (1536, 1536) and shapes["blocks.0.norm3.bias"] == (1536,)
    assert shapes["blocks.0.cross_attn.norm_k.weight"] == (1536,)
    assert shapes["blocks.0.ffn.0.weight"] == (8960, 1536) and shapes["blocks.0.ffn.2.weight"] == (1536, 8960)
    assert shapes["head.modulation"] == (1, 2, 1536) and shapes["head.head.weight"] == (64, 1536)
    assert next(iter(shapes)) == "patch_embedding.weight" and list(shapes)[-1] == "head.head.bias"


def test_preset_names() -> None:
    assert preset("tiny").dit == DitSpec(256, 1024, 2, 6, text_len=128, text_dim=256, freq_dim=256)
    assert [spec.dit.head_dim for spec in PRESETS.values()] == [128, 128, 128]
    with pytest.raises(PenstockError, match=r"expected one of wan2.1-t2v-1.3b, wan2.1-t2v-14b, tiny, got 'big'"):
        preset("big")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 0}, "dit.dim: expected an integer from 1 to"),
        ({"dim": True}, "dit.dim: expected an integer from 1 to"),
        ({"dim": 8.0}, "dit.dim: expected an integer from 1 to"),
        ({"text_len": "4"}, "dit.text_len: expected an integer from 1 to"),
        ({"text_dim": 1 << 21}, "dit.text_dim: expected an integer from 1 to"),
        ({"layers": 10**9}, "dit.layers: expected an integer from 1 to 1024, got 1000000000"),
        ({"out_channels": -16}, "dit.out_channels: expected an integer"),
        ({"heads": 3}, "dit.heads: expected a divisor of dim 8, got 3"),
        ({"heads": 8}, "dit.heads: expected an even head_dim, got dim 8 / 8 heads"),
        ({"freq_dim": 5}, "dit.freq_dim: expected an even number"),
        ({"patch": (1, 1, 1)}, r"dit.patch: expected \(1, 2, 2\), the only patch supported, got \(1, 1, 1\)"),
        ({"eps": 0.0}, "dit.eps: expected a number between 0 and 1"),
        ({"eps": float("nan")}, "dit.eps: expected a number between 0 and 1"),
        ({"eps": "1e-6"}, "dit.eps: expected a number between 0 and 1"),
    ],
)
def test_a_bad_dimension_is_named(changes: dict[str, Any], message: str, small_dir: Path) -> None:
    with pytest.raises(PenstockError, match=message):
        replace(SMALL, **changes)
    if changes.get("eps") != changes.get("eps"):
        return  # NaN has no place in JSON
    edit(small_dir, dit={key: list(value) if isinstance(value, tuple) else value for key, value in changes.items()})
    with pytest.raises(PenstockError, match=f"model.json: {message}") as caught:
        load_model(small_dir)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", PRESETS.values(), ids=PRESETS)
def test_a_spec_survives_json(spec: ModelSpec, tmp_path: Path) -> None:
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    unusual = ModelSpec("μ", replace(spec.dit, eps=1e-5, in_channels=36, out_channels=8, text_len=77))
    assert save_model_spec(tmp_path, unusual, {"dit": ["w.safetensors"]}) == load_model(tmp_path)
    assert load_model(tmp_path).spec == unusual and load_model(tmp_path).weight_files == {"dit": ("w.safetensors",)}
    data = json.loads((tmp_path / "model.json").read_text())
    assert data["format"] == "penstock-model" and data["version"] == 1 and data["name"] == "μ"
    fields = {**asdict(unusual.dit), "patch": [1, 2, 2]}
    assert data["dit"] == {"architecture": "wan_causal_dit", **fields, "weights": ["w.safetensors"]}
    assert [file.name for file in tmp_path.iterdir()] == ["model.json"]


def test_weights_are_one_mapping_over_all_files(small_dir: Path) -> None:
    edit(small_dir, note="kept out of the way")
    model = load_model(small_dir)
    with model.open_weights() as weights:
        assert weights.infos.keys() == {f"dit.{key}" for key in dit_parameters(SMALL)}
        for index, (name, shape) in enumerate(dit_parameters(SMALL).items()):
            key, position = f"dit.{name}", index if index < 20 else index - 20
            np.testing.assert_array_equal(weights.numpy(key), np.full(shape, position, np.float32), strict=True)
            assert weights.raw(key).nbytes == weights.infos[key].nbytes == 4 * math.prod(shape)
        with pytest.raises(PenstockError, match=r"weights: there is no tensor 'x'"):
            weights.raw("x")
    with pytest.raises(PenstockError, match=r"is closed"):
        weights.numpy("dit.head.modulation")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "format: expected 'penstock-model', got 'other'"),
        ({"format": ...}, "format: expected 'penstock-model', got 'nothing'"),
        ({"version": 2}, "version: expected 1, got 2"),
        ({"version": True}, "version: expected 1, got True"),
        ({"name": ...}, "name: expected a non-empty line of text, got nothing"),
        ({"name": "a\nb"}, r"name: expected a non-empty line of text, got 'a\\nb'"),
        ({"name": 3}, "name: expected a non-empty line of text, got 3"),
        ({"dit": {"heads": ..., "eps": ...}}, "dit: fields are missing: eps, heads"),
        ({"dit": {"window": 3}}, "dit: unknown fields: 'window'"),
        ({"dit": {"architecture": "unet"}}, "dit.architecture: expected 'wan_causal_dit', got 'unet'"),
        ({"dit": {"patch": 2}}, r"dit.patch: expected \(1, 2, 2\)"),
        ({"dit": {"patch": [1, 2, [2]]}}, r"dit.patch: expected \(1, 2, 2\)"),
        ({"dit": {"weights": ...}}, "dit.weights: expected a non-empty list of file names, got None"),
        ({"dit": {"weights": []}}, "dit.weights: expected a non-empty list of file names"),
        ({"dit": {"weights": "a.safetensors"}}, "dit.weights: expected a non-empty list of file names"),
        ({"dit": {"weights": [1]}}, "dit.weights: expected a non-empty list of file names"),
        ({"dit": {"weights": ["a.safetensors"] * 2}}, "dit.weights: expected distinct file names"),
        ({"dit": {"weights": ["../a.safetensors"]}}, "inside the directory, got '../a.safetensors'"),
        ({"dit": {"weights": ["more/../../a.safetensors"]}}, "dit.weights: .* inside the directory"),
        ({"dit": {"weights": ["/etc/a.safetensors"]}}, "dit.weights: .* inside the directory"),
        ({"dit": {"weights": ["..\\a.safetensors"]}}, "dit.weights: .* inside the directory"),
        ({"dit": {"weights": ["a\0.safetensors"]}}, "dit.weights: .* inside the directory"),
        ({"dit": {"weights": ["model.json"]}}, "dit.weights: .* inside the directory"),
    ],
)
def test_a_bad_model_json_is_one_clear_line(small_dir: Path, changes: dict[str, Any], message: str) -> None:
    load_model(small_dir)
    edit(small_dir, **changes)
    with pytest.raises(PenstockError, match=message) as caught:
        load_model(small_dir)
    assert str(caught.value).startswith(f"{small_dir}/model.json: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected UTF-8 JSON"),
        (b"[]", "expected a JSON object, got list"),
        (b'{"format": "penstock-model", "version": 1, "name": "a"}', "dit: expected an object, got nothing"),
        (b'{"format": "penstock-model", "version": 1, "name": "a", "dit": 3}', "dit: expected an object, got int"),
        (b" " * (1 << 20) + b"{}", "expected at most 1048576 bytes, got 1048578"),
    ],
)
def test_a_model_json_that_is_something_else(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(PenstockError, match=r"expected a model directory, found no model.json in it"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(PenstockError, match=f"model.json: {message}"):
        load_model(tmp_path)


def test_every_problem_of_the_weights_is_listed(small_dir: Path) -> None:
    shapes = dit_parameters(SMALL)
    bad = {**shapes, "extra.weight": (3,), "head.head.bias": (65,)}
    del bad["blocks.1.norm3.bias"]
    write_weights(small_dir / "a.safetensors", bad)
    edit(small_dir, dit={"weights": ["a.safetensors"]})
    with pytest.raises(PenstockError) as caught:
        load_model(small_dir).open_weights()
    assert str(caught.value).splitlines() == [
        "weights of model 'small': 3 problems:",
        "  missing: dit.blocks.1.norm3.bias [8]",
        "  dit.head.head.bias: expected shape [64], got [65]",
        "  unexpected: 'dit.extra.weight' [3]",
    ]
    integers = {
        name: TensorInfo.of(name, "I32" if name == "head.modulation" else "F16", s) for name, s in shapes.items()
    }
    assert weight_problems(shapes, integers) == ["head.modulation: expected dtype BF16 or F16 or F32, got I32"]


def test_a_long_list_of_problems_is_cut(small_dir: Path) -> None:
    edit(small_dir, dit={"weights": ["a.safetensors"]})
    with pytest.raises(PenstockError) as caught:
        load_model(small_dir).open_weights()
    lines = str(caught.value).splitlines()
    missing = len(dit_parameters(SMALL)) - 20
    assert lines[0] == f"weights of model 'small': {missing} problems:" and len(lines) == 22
    assert all(line.startswith("  missing: dit.blocks.") for line in lines[1:21])
    assert lines[21] == f"  ... and {missing - 20} more"


def test_a_key_in_two_files_and_a_missing_file(small_dir: Path) -> None:
    write_weights(small_dir / "c.safetensors", {"head.modulation": (1, 2, 8)})
    edit(small_dir, dit={"weights": ["a.safetensors", "more/b.safetensors", "c.safetensors"]})
    with pytest.raises(PenstockError, match=r"c.safetensors: tensor 'head.modulation' is also in b.safetensors"):
        load_model(small_dir).open_weights()
    (small_dir / "a.safetensors").unlink()
    with pytest.raises(PenstockError, match=r"a.safetensors: expected a safetensors file, found no such file"):
        load_model(small_dir).open_weights()


def test_a_directory_to_write_to_is_empty_or_a_model(tmp_path: Path, small_dir: Path) -> None:
    assert prepare_model_dir(small_dir) == small_dir
    assert prepare_model_dir(tmp_path / "new" / "one").is_dir()
    (tmp_path / "new" / "one" / ".dit.safetensors.00.part").touch()
    prepare_model_dir(tmp_path / "new" / "one")
    with pytest.raises(PenstockError, match=r"new: not empty and not a penstock model directory"):
        prepare_model_dir(tmp_path / "new")
    with pytest.raises(PenstockError, match=r"a.safetensors: expected a directory to write .*, found a file"):
        prepare_model_dir(small_dir / "a.safetensors")
    with pytest.raises(PenstockError, match=r"cannot use as a model directory: Not a directory"):
        prepare_model_dir(small_dir / "a.safetensors" / "b")
