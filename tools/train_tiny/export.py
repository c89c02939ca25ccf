"""The trained parts as checkpoints in the published layouts, and these as a model directory by `penstock convert`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import Tensor

from penstock.evaluation.styles import STYLES
from penstock.runtime.convert import convert
from penstock.runtime.prompt import write_prompt
from penstock.runtime.stream_settings import save_stream_settings
from penstock.runtime.text import UMT5_ENCODER, TextSpec, embed_prompts, find_encoder, save_text_spec

from . import checkpoint
from .latents import load_vae
from .text import TEXT_LEN, encoder_weights, text_encoder, write_tokenizer
from .train_dit import SPEC, WanDit
from .train_vae import SPEC as VAE_SPEC

SETTINGS = {"steps": 1, "noise_scale": 0.33, "timesteps": [200, 150, 100, 50]}


def export(folder: Path, model: Path) -> None:
    """Writes the model directory ``model`` from the checkpoints in ``folder``, all weights in bf16."""
    state = checkpoint.load(folder / "dit.pt")
    dit, text = WanDit(SPEC), text_encoder()
    checkpoint.load_average(torch.nn.ModuleDict({"dit": dit, "text": text}), state["average"])
    with TemporaryDirectory() as scratch:
        transformer, vae = Path(scratch, "transformer"), Path(scratch, "vae")
        config = {"num_attention_heads": SPEC.heads, "text_len": SPEC.text_len, "freq_dim": SPEC.freq_dim}
        _save(transformer, "diffusion_pytorch_model", dit.weights(), config)
        statistics = {"latents_mean": list(VAE_SPEC.mean), "latents_std": list(VAE_SPEC.std)}
        _save(vae, "diffusion_pytorch_model", _normalised(load_vae(folder).weights(), state), statistics)
        convert(scratch, model, name="tiny")
    _save(model / "text", "model", encoder_weights(text), {"model_type": "umt5"})
    write_tokenizer(model / "text")
    _save_prompts(model)
    save_stream_settings(model, SETTINGS)


def _save(folder: Path, stem: str, weights: Mapping[str, Tensor], config: Mapping[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.bfloat16().contiguous() for key, value in weights.items()}, folder / f"{stem}.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _normalised(weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The VAE's weights with the latents' statistics folded in: its raw latents are what the DiT works on."""
    mean, std = state["mean"], state["std"]
    folded = dict(weights)
    z = len(mean)
    weight, bias = folded["conv1.weight"].clone(), folded["conv1.bias"].clone()
    weight[:z] /= std.view(-1, 1, 1, 1, 1)
    bias[:z] = (bias[:z] - mean) / std
    folded["conv1.weight"], folded["conv1.bias"] = weight, bias
    back = folded["conv2.weight"]
    folded["conv2.bias"] = folded["conv2.bias"] + back[:, :, 0, 0, 0] @ mean
    folded["conv2.weight"] = back * std.view(1, -1, 1, 1, 1)
    return folded


def _save_prompts(model: Path) -> None:
    """The embeddings of every style's prompt, for machines without the text encoder's libraries."""
    prompts = [style.prompt for style in STYLES]
    (model / "prompts").mkdir(exist_ok=True)
    names = [f"prompts/{style.name.replace(' ', '_')}.safetensors" for style in STYLES]
    embedded = embed_prompts(prompts, find_encoder(model / "text"), TEXT_LEN)
    for name, prompt in zip(names, embedded, strict=True):
        write_prompt(model / name, prompt)
    files = ("text/model.safetensors",)
    save_text_spec(model, TextSpec(UMT5_ENCODER, weights=files, tokenizer="text", prompts=tuple(names)))
