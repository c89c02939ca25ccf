"""The small text encoder: a UMT5 encoder over bytes, and the prompts it is trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import UMT5Config, UMT5EncoderModel

from penstock.evaluation.styles import STYLES
from penstock.runtime.text.umt5_keys import TIED

PAD, END, UNKNOWN = 0, 1, 2
_FIRST_BYTE = 3  # ids 3 to 258 are the bytes
TEXT_DIM, TEXT_LEN = 128, 64
_FRAMES = ("{}", "{}", "{}", "in the style of {}", "as {}", "make it {}", "turn it into {}", "{} style", "{} of a cat",
           "{} of shapes on a wall", "{} of a person", "{} of the sea", "{}, moving shapes")  # fmt: skip


def text_encoder() -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=_FIRST_BYTE + 256, d_model=TEXT_DIM, d_kv=32, d_ff=256, num_layers=2, num_heads=4,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, feed_forward_proj="gated-gelu",
        dropout_rate=0.0, attn_implementation="eager",
    )  # fmt: skip
    return UMT5EncoderModel(config)


def byte_ids(text: str) -> list[int]:
    """What the tokenizer of `write_tokenizer` makes of a text; a longer one loses its last bytes, not its end."""
    return [*(_FIRST_BYTE + byte for byte in text.encode()[: TEXT_LEN - 1]), END]


def embed(encoder: UMT5EncoderModel, prompts: list[str]) -> Tensor:
    """[len(prompts), TEXT_LEN, TEXT_DIM], zero past the end of each."""
    rows = [byte_ids(prompt) for prompt in prompts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows], device=encoder.device)
    mask = (ids != PAD).long()
    hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
    return torch.nn.functional.pad(hidden, (0, 0, 0, TEXT_LEN - longest))


def random_prompt(style: int, rng: np.random.Generator) -> str:
    """One of the ways to ask for a style."""
    entry = STYLES[style]
    phrase = entry.prompt if rng.random() < 0.5 else str(rng.choice([entry.name, *entry.paraphrases]))
    text = str(rng.choice(_FRAMES)).format(phrase)
    return text.capitalize() if rng.random() < 0.2 else text


def encoder_weights(encoder: UMT5EncoderModel) -> dict[str, Tensor]:
    """Under the keys of transformers, less the tied copy of the table."""
    return {key: value.detach() for key, value in encoder.state_dict().items() if key != TIED}


def write_tokenizer(folder: Path) -> None:
    """tokenizer.json of the `tokenizers` library: a token for each byte, and the end of the text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    letters = {letter: index for index, letter in enumerate(_byte_letters())}
    vocabulary = {"<pad>": PAD, "</s>": END, "<unk>": UNKNOWN}
    vocabulary |= {letter: _FIRST_BYTE + index for letter, index in letters.items()}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)])
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads(tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=True) + "\n")


def _byte_letters() -> list[str]:
    """The printable letters that byte-level tokenizers write the bytes 0 to 255 as."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
