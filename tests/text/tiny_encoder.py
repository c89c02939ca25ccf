"""A small UMT5 encoder with random weights and a word tokenizer, written in every layout that is published."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import UMT5Config, UMT5EncoderModel

WORDS = ["a", "cat", "walks", "through", "grass", "towards", "the", "camera", "dog", "realistic", "neon", "rain"]
UNKNOWN, END = 2, 1
FIRST_WORD = 3
LAYERS = 3

# Written out by hand from the published layout, so that a slip in the product's table shows.
ORIGINAL_NAMES = {
    "norm1.weight": "layer.0.layer_norm.weight",
    "attn.q.weight": "layer.0.SelfAttention.q.weight",
    "attn.k.weight": "layer.0.SelfAttention.k.weight",
    "attn.v.weight": "layer.0.SelfAttention.v.weight",
    "attn.o.weight": "layer.0.SelfAttention.o.weight",
    "pos_embedding.embedding.weight": "layer.0.SelfAttention.relative_attention_bias.weight",
    "norm2.weight": "layer.1.layer_norm.weight",
    "ffn.gate.0.weight": "layer.1.DenseReluDense.wi_0.weight",
    "ffn.fc1.weight": "layer.1.DenseReluDense.wi_1.weight",
    "ffn.fc2.weight": "layer.1.DenseReluDense.wo.weight",
}


def make_model(seed: int, dtype: torch.dtype = torch.float32) -> UMT5EncoderModel:
    """d_model 64, 3 layers, 4 heads of 8, every weight random: the norms and the bias tables of each layer too."""
    config = UMT5Config(vocab_size=FIRST_WORD + len(WORDS), d_model=64, d_kv=8, d_ff=96, num_layers=LAYERS,
                        num_heads=4, relative_attention_num_buckets=32, feed_forward_proj="gated-gelu",
                        attn_implementation="eager")  # fmt: skip
    model = UMT5EncoderModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            scale = 0.2 if weight.ndim == 2 and "bias" not in name else 1.0
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return model.to(dtype)


def original_state(model: UMT5EncoderModel) -> dict[str, torch.Tensor]:
    """The weights under the keys of models_t5_umt5-xxl-enc-bf16.pth."""
    state = model.state_dict()
    result = {"token_embedding.weight": state["shared.weight"], "norm.weight": state["encoder.final_layer_norm.weight"]}
    for layer in range(LAYERS):
        for original, name in ORIGINAL_NAMES.items():
            result[f"blocks.{layer}.{original}"] = state[f"encoder.block.{layer}.{name}"]
    return {key: value.clone() for key, value in result.items()}


def save_tokenizer(folder: Path) -> None:
    """tokenizer.json: words of WORDS, others unknown, an end token after the last; with padding that must not count."""
    vocabulary = {"<pad>": 0, "</s>": END, "<unk>": UNKNOWN}
    vocabulary |= {word: FIRST_WORD + index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)])
    tokenizer.enable_padding(length=40)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def save_wan(folder: Path, model: UMT5EncoderModel) -> Path:
    """The Wan repository: a pickle, the tokenizer, and the config.json of another model."""
    save_tokenizer(folder / "google" / "umt5-xxl")
    torch.save(original_state(model), folder / "models_t5_umt5-xxl-enc-bf16.pth")
    (folder / "config.json").write_text(json.dumps({"model_type": "t2v", "dim": 1536}))
    return folder


def save_transformers(folder: Path, model: UMT5EncoderModel, sharded: bool = False) -> Path:
    """A diffusers repository, folders text_encoder and tokenizer, written by transformers itself."""
    model.save_pretrained(folder / "text_encoder", **({"max_shard_size": "30KB"} if sharded else {}))
    save_tokenizer(folder / "tokenizer")
    return folder


def save_untied(path: Path, model: UMT5EncoderModel) -> None:
    """One safetensors file that names the embedding table by its tied copy and has decoder weights besides."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    del state["shared.weight"]
    save_file({**state, "lm_head.weight": torch.zeros(3, 3), "decoder.final_layer_norm.weight": torch.ones(3)}, path)


def ids_of(text: str) -> list[int]:
    return [FIRST_WORD + WORDS.index(word) if word in WORDS else UNKNOWN for word in text.split()] + [END]
