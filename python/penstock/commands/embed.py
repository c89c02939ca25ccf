"""Turn a prompt into prompt.safetensors, the text embeddings that an engine takes."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from penstock.commands.output import emit

HELP = "turn a prompt into text embeddings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="model directory, or the folder or weight file of a UMT5 encoder")
    parser.add_argument("prompt", help="the text")
    parser.add_argument("-o", "--output", default="prompt.safetensors", help="file to write (default %(default)s)")
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16", help="precision (default bf16)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the encoder runs")
    parser.add_argument("--no-cache", action="store_true", help="encode even if the prompt was encoded before")
    parser.add_argument("--placeholder", action="store_true",
                        help="hash embeddings for a model without a text encoder: for random weights only")  # fmt: skip


def run(options: argparse.Namespace) -> None:
    from penstock.models import model_path
    from penstock.runtime.model_file import MODEL_FILE
    from penstock.runtime.prompt import write_prompt
    from penstock.runtime.text import PromptTruncated, cache_directory, embed_for_model, embed_prompts, find_encoder

    cache = None if options.no_cache else cache_directory()
    settings = {"dtype": options.dtype, "device": options.device, "cache": cache}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptTruncated)  # said below, in the style of this program
        source = model_path(options.source)
        if (source / MODEL_FILE).is_file():
            (prompt,) = embed_for_model(source, [options.prompt], options.placeholder, **settings)
        else:
            (prompt,) = embed_prompts([options.prompt], find_encoder(source), **settings)
    write_prompt(options.output, prompt, "F32" if options.dtype == "fp32" else "BF16")
    rows, text_dim = prompt.embeddings.shape
    if prompt.tokens > rows:
        print(f"penstock: warning: only {rows} of {prompt.tokens} tokens of the prompt are used", file=sys.stderr)
    emit(
        {"output": options.output, "rows": rows, "text_dim": text_dim, "tokens": prompt.tokens,
         "encoder": prompt.encoder},
        options.json,
        f"{options.output}: {rows} rows of {text_dim}, by {prompt.encoder.split()[0]}",
    )  # fmt: skip
