"""Model directories with video autoencoders: their entries, their weights, and what stays when one is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.runtime.dit_spec import DitSpec
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import ModelSpec, component_file, component_parameters, load_model, save_model_spec
from penstock.runtime.safetensors_io import TensorInfo, write_safetensors
from penstock.runtime.spec_json import Parameters
from penstock.runtime.text import TextSpec, load_text_spec, save_text_spec
from penstock.runtime.vae_spec import TaehvSpec, WanVaeSpec

DIT = DitSpec(dim=8, ffn_dim=12, heads=2, layers=1, text_len=4, text_dim=6, freq_dim=4, out_channels=2)
MODEL = ModelSpec("all", DIT, WanVaeSpec(2, 2, (1, 1, 1, 1), (0.0, 1.0), (1.0, 2.0)), TaehvSpec(2, 2, (2, 2, 2, 2)))
COMPONENTS = ("dit", "vae", "taehv")


def write_weights(path: Path, component: str, parameters: Parameters) -> None:
    """Weights whose values tell the component and the position of the tensor."""
    infos = [TensorInfo.of(name, "F32", shape) for name, shape in parameters.items()]
    base = 1000 * COMPONENTS.index(component)
    values = {name: base + index for index, name in enumerate(parameters)}
    write_safetensors(path, infos, lambda info: [np.full(info.shape, values[info.name], np.float32)])


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    for component, spec in MODEL.components().items():
        write_weights(tmp_path / component_file(component), component, component_parameters(component, spec))
    save_model_spec(tmp_path, MODEL, {component: [component_file(component)] for component in COMPONENTS})
    return tmp_path


def edit(directory: Path, component: str, **changes: Any) -> None:
    data = json.loads((directory / "model.json").read_text())
    data[component] = {**data[component], **changes}
    (directory / "model.json").write_text(json.dumps(data))


def test_all_components_survive_json(model_dir: Path) -> None:
    assert ModelSpec.from_json(json.loads(json.dumps(MODEL.to_json()))) == MODEL
    model = load_model(model_dir)
    assert model.spec == MODEL and list(model.spec.components()) == list(COMPONENTS)
    assert model.weight_files == {component: (f"{component}.safetensors",) for component in COMPONENTS}


def test_weights_of_all_components_are_one_namespace(model_dir: Path) -> None:
    with load_model(model_dir).open_weights() as weights:
        for start, (component, spec) in zip((0, 1000, 2000), MODEL.components().items(), strict=True):
            for index, (name, shape) in enumerate(component_parameters(component, spec).items()):
                key = f"{component}.{name}"
                assert weights.infos[key].name == key
                np.testing.assert_array_equal(weights.numpy(key), np.full(shape, start + index, np.float32))
                assert weights.raw(key).size == weights.infos[key].nbytes
        assert len(weights.infos) == sum(len(component_parameters(*item)) for item in MODEL.components().items())
        with pytest.raises(PenstockError, match=r"weights: there is no tensor 'encoder.0.bias'"):
            weights.numpy("encoder.0.bias")


def test_problems_name_the_component(model_dir: Path) -> None:
    vae, taehv = (component_parameters(name, MODEL.components()[name]) for name in ("vae", "taehv"))
    del vae["conv1.bias"]
    write_weights(model_dir / "vae.safetensors", "vae", {**vae, "encoder.0.bias": (2,)})
    write_weights(model_dir / "taehv.safetensors", "taehv", {**taehv, "decoder.1.bias": (3,)})
    with pytest.raises(PenstockError) as caught:
        load_model(model_dir).open_weights()
    assert str(caught.value).splitlines() == [
        "weights of model 'all': 3 problems:",
        "  missing: vae.conv1.bias [4]",
        "  unexpected: 'vae.encoder.0.bias' [2]",
        "  taehv.decoder.1.bias: expected shape [2], got [3]",
    ]


@pytest.mark.parametrize(
    ("component", "changes", "message"),
    [
        ("vae", {"base_dim": 3}, "vae.base_dim: expected even widths"),
        ("vae", {"surprise": 1}, "vae: unknown fields: 'surprise'"),
        ("vae", {"weights": None}, "vae.weights: expected a non-empty list of file names, got None"),
        ("vae", {"weights": ["../vae.safetensors"]}, "vae.weights: .* inside the directory"),
        ("taehv", {"architecture": "wan_vae"}, "taehv.architecture: expected 'taehv', got 'wan_vae'"),
        ("taehv", {"weights": ["taehv.pth"]}, "taehv.weights: expected .safetensors files"),
        ("taehv", {"z_dim": 4}, "taehv.z_dim: expected 2, dit.out_channels, got 4"),
        ("vae", {"z_dim": 1, "mean": [0], "std": [1]}, "vae.z_dim: expected 2, dit.out_channels, got 1"),
    ],
)
def test_a_bad_entry_is_one_clear_line(model_dir: Path, component: str, changes: dict[str, Any], message: str) -> None:
    edit(model_dir, component, **changes)
    with pytest.raises(PenstockError, match=message) as caught:
        load_model(model_dir)
    assert str(caught.value).startswith(f"{model_dir}/model.json: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("entry", [None, [], "vae.safetensors"])
def test_an_entry_that_is_no_object(model_dir: Path, entry: Any) -> None:
    data = json.loads((model_dir / "model.json").read_text())
    (model_dir / "model.json").write_text(json.dumps({**data, "vae": entry}))
    with pytest.raises(PenstockError, match=r"model.json: vae: expected an object, got (NoneType|list|str)"):
        load_model(model_dir)


def test_saving_replaces_only_what_it_is_told(model_dir: Path) -> None:
    save_text_spec(model_dir, TextSpec("umt5", path="../wan"))
    before = json.loads((model_dir / "model.json").read_text())
    wider = TaehvSpec(2, 6, (2, 2, 2, 2))
    saved = save_model_spec(model_dir, ModelSpec("new", DIT, taehv=wider), {"taehv": ["w.safetensors"]})
    assert saved == load_model(model_dir) and saved.spec == ModelSpec("new", DIT, MODEL.vae, wider)
    after = json.loads((model_dir / "model.json").read_text())
    assert after == {**before, "name": "new", "taehv": {**wider.to_json(), "weights": ["w.safetensors"]}}
    assert load_text_spec(model_dir) == TextSpec("umt5", path="../wan")
    assert not list(model_dir.glob(".*"))


def test_saving_what_does_not_fit_changes_nothing(model_dir: Path) -> None:
    before = (model_dir / "model.json").read_bytes()
    other = DitSpec(dim=8, ffn_dim=12, heads=2, layers=1, out_channels=3)
    with pytest.raises(PenstockError, match=r"vae.z_dim: expected 3, dit.out_channels, got 2"):
        save_model_spec(model_dir, ModelSpec("new", other), {"dit": ["dit.safetensors"]})
    assert (model_dir / "model.json").read_bytes() == before
