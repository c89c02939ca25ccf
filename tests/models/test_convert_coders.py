"""Conversion of video autoencoders: real layouts of both, added to a model directory component by component."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import load_file, save_file

from penstock.runtime.convert import convert
from penstock.runtime.engine import Engine
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import ModelDir, load_model
from penstock.runtime.models.frame_network import CoderSize
from penstock.runtime.models.wan_vae import wan_vae_plan
from penstock.runtime.pack import packed_weights
from penstock.runtime.spec_json import Parameters
from penstock.runtime.text import load_text_spec
from penstock.runtime.vae_spec import TaehvSpec, WanVaeSpec, taehv_parameters, wan_vae_parameters
from penstock.runtime.wan_vae_keys import to_diffusers_key
from tests.helpers import relative_l2
from tests.models.random_coder import encode_stream, random_frames
from tests.models.test_convert import SPEC as DIT
from tests.models.test_convert import State, assert_same_bits, save_pickle, wan_state
from tests.text.tiny_encoder import make_model, save_wan

VAE = WanVaeSpec(4, dim_mult=(1, 2, 2, 3))
TAEHV = TaehvSpec(encoder_dim=6, decoder_dims=(12, 10, 8, 6))


def random_state(parameters: Parameters, dtype: torch.dtype = torch.bfloat16) -> State:
    generator = torch.Generator().manual_seed(5)
    return {key: torch.randn(shape, generator=generator).to(dtype) for key, shape in parameters.items()}


@pytest.fixture
def model(tmp_path: Path) -> ModelDir:
    """A model directory with a DiT and a text encoder."""
    encoder = save_wan(tmp_path / "encoder", make_model(0))
    (tmp_path / "dit").mkdir()
    return convert(save_pickle(tmp_path / "dit", wan_state()), tmp_path / "model", "mine", text=encoder)


def assert_holds(model: ModelDir, component: str, state: State) -> None:
    """The component's file has the bits of the state, and the others are as they were."""
    loaded = load_file(model.path / f"{component}.safetensors")
    assert loaded.keys() == state.keys()
    for key, tensor in state.items():
        assert loaded[key].dtype == tensor.dtype and loaded[key].equal(tensor), key
    assert_same_bits(model, wan_state())
    assert model == load_model(model.path) and (model.spec.name, model.spec.dit) == ("mine", DIT)
    assert load_text_spec(model.path).path == str((model.path.parent / "encoder").resolve())
    model.open_weights().close()


@pytest.mark.parametrize("layout", ["Wan2.1_VAE.pth", "nested.pt", "wan.safetensors", "diffusers.safetensors"])
def test_a_wan_vae_is_added(tmp_path: Path, model: ModelDir, layout: str) -> None:
    state, source = random_state(wan_vae_parameters(VAE), torch.float32), tmp_path / layout
    if source.suffix == ".safetensors":
        renamed = {to_diffusers_key(key): value for key, value in state.items()}
        save_file(renamed if "diffusers" in layout else state, source)
    else:
        torch.save({"state_dict": state} if "nested" in layout else state, source)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "WanModel", "dim": 48, "num_heads": 2}))
    calls: list[tuple[int, int]] = []
    converted = convert(source, model.path, progress=lambda done, total: calls.append((done, total)))
    assert converted.spec.vae == VAE and converted.spec.taehv is None
    assert_holds(converted, "vae", state)
    assert calls[-1] == (sum(tensor.nbytes for tensor in state.values()),) * 2


@pytest.mark.parametrize("name", ["taew2_1.pth", "taew2_1.safetensors"])
@pytest.mark.parametrize("frames", [1, 4])
def test_a_taehv_is_added(tmp_path: Path, model: ModelDir, name: str, frames: int) -> None:
    """Grow layers may make more frames than Wan has; those at the end stay."""
    published = random_state(taehv_parameters(TAEHV))
    kept = dict(published)
    key, width = "decoder.7.conv.weight", TAEHV.decoder_dims[0]
    published[key] = torch.randn(frames * width, width, 1, 1).bfloat16()
    kept[key] = published[key][-width:]
    torch.save(published, tmp_path / name) if name.endswith(".pth") else save_file(published, tmp_path / name)
    converted = convert(tmp_path / name, model.path)
    assert converted.spec.taehv == TAEHV and converted.spec.vae is None
    assert_holds(converted, "taehv", kept)


def test_components_are_replaced_one_by_one(tmp_path: Path, model: ModelDir) -> None:
    narrow, taehv = WanVaeSpec(2), random_state(taehv_parameters(TAEHV))
    save_file(taehv, tmp_path / "t.safetensors")
    convert(tmp_path / "t.safetensors", model.path)
    for spec in (VAE, narrow):
        state = random_state(wan_vae_parameters(spec))
        torch.save(state, tmp_path / "vae.pth")
        converted = convert(tmp_path / "vae.pth", model.path)
        assert (converted.spec.vae, converted.spec.taehv) == (spec, TAEHV)
        assert_holds(converted, "vae", state)
    assert_holds(converted, "taehv", taehv)
    again = convert(tmp_path / "dit" / "model.pt", model.path)
    assert again.spec.name == "model" and list(again.spec.components()) == ["dit", "vae", "taehv"]


def make_vae() -> AutoencoderKLWan:
    torch.manual_seed(2)
    vae = AutoencoderKLWan(base_dim=8, dim_mult=[1, 2, 2, 2], latents_mean=[0.25] * 16, latents_std=[1.5] * 16)
    for name, parameter in vae.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return vae.eval()


def test_a_diffusers_repository_is_converted_at_once(tmp_path: Path, rng: np.random.Generator) -> None:
    """The Wan VAE of it, replayed by the engine, equals diffusers; its statistics are those of config.json."""
    theirs, source = make_vae(), tmp_path / "pipeline"
    theirs.save_pretrained(source / "vae")
    WanTransformer3DModel(num_attention_heads=2, attention_head_dim=12, num_layers=1, ffn_dim=24, text_dim=8,
                          freq_dim=8).save_pretrained(source / "transformer")  # fmt: skip
    calls: list[tuple[int, int]] = []
    model = convert(source, tmp_path / "model", progress=lambda done, total: calls.append((done, total)))
    assert model.spec.vae == WanVaeSpec(8, 16, (1, 2, 2, 2), (0.25,) * 16, (1.5,) * 16)
    assert model.spec.name == "pipeline" and model.spec.dit.dim == 24
    assert calls == sorted(calls) and calls[-1][0] == calls[-1][1] == calls[0][1]

    size = CoderSize(32, 40)
    plan, frames = wan_vae_plan(model.spec.vae, size, "normalized"), random_frames(rng, 5, size.picture)
    with model.open_weights() as weights:
        session = Engine.create(plan, packed_weights(plan, weights), device="cpu", threads=2).session()
    latents = encode_stream(session, frames)
    clip = (torch.from_numpy(frames).float() / 127.5 - 1).permute(3, 0, 1, 2)[None]
    with torch.inference_mode():
        mean = theirs.encode(clip).latent_dist.mean
        video = theirs.decode(mean).sample[0].permute(1, 2, 3, 0).numpy()
    assert relative_l2(latents, ((mean - 0.25) / 1.5)[0].transpose(0, 1)) < 1e-5
    session.run("decode_first")
    assert np.abs(session.read("video_first") - (video.clip(-1, 1) + 1) * 127.5).max() < 0.51


def test_a_wan_repository_is_converted_at_once(tmp_path: Path) -> None:
    source, vae = tmp_path / "Wan2.1", random_state(wan_vae_parameters(VAE))
    source.mkdir()
    save_file(wan_state(), source / "diffusion_pytorch_model.safetensors")
    (source / "config.json").write_text(json.dumps({"num_heads": 2}))
    torch.save(vae, source / "Wan2.1_VAE.pth")
    model = convert(source, tmp_path / "model")
    assert (model.spec.name, model.spec.dit, model.spec.vae) == ("Wan2.1", DIT, VAE)
    assert_same_bits(model, wan_state())
    assert load_file(model.path / "vae.safetensors").keys() == vae.keys()


def test_a_coder_without_a_dit(tmp_path: Path) -> None:
    save_file(random_state(taehv_parameters(TAEHV)), tmp_path / "t.safetensors")
    with pytest.raises(PenstockError, match=r"new: expected a model directory to add taehv to: convert a DiT first"):
        convert(tmp_path / "t.safetensors", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"base_dim": 8}, "config.json says base_dim is 8, but the weights have 4"),
        (
            {"dim_mult": [1, 2, 4, 4]},
            r"config.json says dim_mult is \(1, 2, 4, 4\), but the weights have \(1, 2, 2, 3\)",
        ),
        ({"latents_mean": [0.0]}, "vae.mean: expected 16 numbers"),
        ({"latents_std": "wide"}, "vae.std: expected 16 numbers"),
    ],
)
def test_a_config_that_does_not_fit(tmp_path: Path, model: ModelDir, config: dict[str, object], message: str) -> None:
    before = sorted(file.name for file in model.path.iterdir())
    save_file(random_state(wan_vae_parameters(VAE)), tmp_path / "v.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PenstockError, match=f"v.safetensors: {message}"):
        convert(tmp_path / "v.safetensors", model.path)
    assert sorted(file.name for file in model.path.iterdir()) == before


def test_latents_that_the_dit_does_not_take(tmp_path: Path, model: ModelDir) -> None:
    save_file(random_state(taehv_parameters(TaehvSpec(4, 6, (4, 4, 4, 4)))), tmp_path / "t.safetensors")
    with pytest.raises(PenstockError, match=r"t.safetensors: taehv.z_dim: expected 16, dit.out_channels, got 4"):
        convert(tmp_path / "t.safetensors", model.path)
    assert load_model(model.path).spec.taehv is None


def test_problems_of_a_coder_are_listed(tmp_path: Path, model: ModelDir) -> None:
    state = random_state(taehv_parameters(TAEHV))
    state["decoder.7.conv.weight"] = torch.zeros(11, 12, 1, 1)  # fewer channels than one frame has
    state["decoder.13.conv.weight"] = torch.zeros(40, 3, 1, 1)
    del state["encoder.4.conv.0.bias"]
    torch.save({**state, "decoder.30.weight": torch.zeros(1)}, tmp_path / "t.pth")
    with pytest.raises(PenstockError) as caught:
        convert(tmp_path / "t.pth", model.path)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/t.pth: 4 problems in the weights:",
        "  missing: encoder.4.conv.0.bias [6]",
        "  decoder.7.conv.weight: expected shape [12, 12, 1, 1], got [11, 12, 1, 1]",
        "  decoder.13.conv.weight: expected shape [20, 10, 1, 1], got [40, 3, 1, 1]",
        "  unexpected: 'decoder.30.weight' [1]",
    ]


def test_a_text_encoder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PenstockError, match="nowhere: expected a text encoder, found nothing there"):
        convert(save_pickle(tmp_path, wan_state()), tmp_path / "model", text=tmp_path / "nowhere")
    assert not (tmp_path / "model").exists()
