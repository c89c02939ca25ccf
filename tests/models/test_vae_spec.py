"""Specifications of the video autoencoders: their tensors, their JSON, and the names of diffusers."""

from __future__ import annotations

import json
import math

import pytest
from diffusers import AutoencoderKLWan

from penstock.runtime.errors import PenstockError
from penstock.runtime.vae_spec import TaehvSpec, WanVaeSpec, taehv_parameters, wan_vae_parameters
from penstock.runtime.wan_vae_keys import to_diffusers_key, to_wan_key

SPECS = [
    WanVaeSpec(),
    WanVaeSpec(16, 2, (1, 1, 2, 3), (0.0, -1.5), (1.0, 2.0)),
    TaehvSpec(),
    TaehvSpec(4, 8, (4, 3, 2, 1)),
]


def test_the_published_checkpoints_have_these_tensors() -> None:
    """Specification 4.1: counts of tensors and of parameters; 4.6: both halves."""
    vae, taehv = wan_vae_parameters(WanVaeSpec()), taehv_parameters(TaehvSpec())
    assert (len(vae), count(vae)) == (194, 126_892_531)
    assert (len(taehv), count(taehv)) == (128, 11_315_539)
    assert round(count(vae, "encoder.") / 1e5) == 536
    assert round(count(vae, "decoder.") / 1e5) == 733
    assert round(count(taehv, "decoder.") / 1e4) == 984


def count(shapes: dict[str, tuple[int, ...]], prefix: str = "") -> int:
    return sum(math.prod(shape) for key, shape in shapes.items() if key.startswith(prefix))


def test_shapes_of_the_specification() -> None:
    """Samples of section 4.10."""
    vae, taehv = wan_vae_parameters(WanVaeSpec()), taehv_parameters(TaehvSpec())
    assert vae["encoder.downsamples.6.shortcut.weight"] == (384, 192, 1, 1, 1)
    assert vae["decoder.upsamples.7.time_conv.weight"] == (768, 384, 3, 1, 1)
    assert vae["decoder.upsamples.11.resample.1.weight"] == (96, 192, 3, 3)
    assert vae["encoder.middle.1.to_qkv.weight"] == (1152, 384, 1, 1)
    assert taehv["encoder.7.conv.weight"] == (64, 128, 1, 1)
    assert taehv["decoder.9.conv.0.weight"] == (128, 256, 3, 3)
    assert taehv["decoder.19.conv.weight"] == (128, 64, 1, 1)
    assert "decoder.20.bias" not in taehv


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_json_round_trip(spec: WanVaeSpec | TaehvSpec) -> None:
    data = json.loads(json.dumps(spec.to_json()))
    assert type(spec).from_json(data) == spec
    assert type(spec).from_json({**data, "weights": ["vae.safetensors"]}) == spec


BAD_VAE = {
    "base_dim": (0, "vae.base_dim: expected an integer from 1 to 16384, got 0"),
    "z_dim": (True, "vae.z_dim: expected an integer from 1 to 16384, got True"),
    "dim_mult": ([1, 2, 4], "vae.dim_mult: expected 4 integers"),
    "mean": ([0.0] * 15, "vae.mean: expected 16 numbers"),
    "std": ([1.0] * 15 + [0.0], "vae.std: expected positive numbers, got 0.0"),
    "architecture": ("taehv", "vae.architecture: expected 'wan_vae', got 'taehv'"),
    "surprise": (1, "vae: unknown fields: 'surprise'"),
}


@pytest.mark.parametrize("field", BAD_VAE)
def test_bad_wan_vae_json_is_named(field: str) -> None:
    value, message = BAD_VAE[field]
    with pytest.raises(PenstockError, match=message):
        WanVaeSpec.from_json({**WanVaeSpec().to_json(), field: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None])
def test_statistics_must_be_finite_numbers(value: object) -> None:
    with pytest.raises(PenstockError, match=r"vae\.std: expected 16 numbers"):
        WanVaeSpec.from_json({**WanVaeSpec().to_json(), "std": [1.0] * 15 + [value]})


def test_odd_widths_are_refused() -> None:
    with pytest.raises(PenstockError, match=r"expected even widths up to 16384, got \[5, 10, 20, 20\]"):
        WanVaeSpec(base_dim=5)
    with pytest.raises(PenstockError, match="expected even widths up to 16384"):
        WanVaeSpec(base_dim=16384)


def test_bad_taehv_json_is_named() -> None:
    data = TaehvSpec().to_json()
    del data["z_dim"]
    with pytest.raises(PenstockError, match="taehv: fields are missing: z_dim"):
        TaehvSpec.from_json(data)
    with pytest.raises(PenstockError, match=r"taehv\.decoder_dims: expected 4 integers, got 64"):
        TaehvSpec.from_json({**TaehvSpec().to_json(), "decoder_dims": 64})
    with pytest.raises(PenstockError, match=r"taehv\.decoder_dims: expected an integer from 1 to 16384, got 0"):
        TaehvSpec(decoder_dims=(1, 2, 3, 0))
    with pytest.raises(PenstockError, match="taehv: expected an object, got list"):
        TaehvSpec.from_json([])


def test_diffusers_has_the_same_tensors_under_its_names() -> None:
    spec = WanVaeSpec(base_dim=8)
    expected = {name: tuple(values.shape) for name, values in AutoencoderKLWan(base_dim=8).state_dict().items()}
    assert {to_diffusers_key(key): shape for key, shape in wan_vae_parameters(spec).items()} == expected
    assert {to_wan_key(name): shape for name, shape in expected.items()} == wan_vae_parameters(spec)


@pytest.mark.parametrize("key", ["", "conv3.weight", "encoder.conv2.weight", "encoder.middle.3.norm.gamma",
                                 "encoder.downsamples.x.residual.0.gamma", "conv1", "encoder.conv1.scale"])  # fmt: skip
def test_foreign_keys_have_no_name(key: str) -> None:
    assert to_diffusers_key(key) is None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "conv3.weight",
        "encoder.middle.0.norm.gamma",
        "encoder.mid_block.resnets.2.norm1.gamma",
        "encoder.mid_block.norm.gamma",
        "decoder.up_blocks.0.resnets.3.norm1.gamma",
        "decoder.up_blocks.0.upsamplers.1.resample.1.bias",
        "conv_in.weight",
        "encoder.conv_in",
    ],
)
def test_keys_foreign_to_diffusers_have_no_name(key: str) -> None:
    assert to_wan_key(key) is None
