"""Convert published weights into a model directory, or add a component to one.

The keys tell what the weights are: a Wan DiT (model.pt, Wan or diffusers safetensors), a Wan VAE (Wan2.1_VAE.pth or
diffusers safetensors) or a TAEHV (taew2_1). A DiT comes first; the others are added to its directory. A diffusers or
Wan repository is converted at once.
"""

from __future__ import annotations

import argparse

from penstock.commands.output import ProgressBar, emit

HELP = "convert published weights into a model directory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=".pt, .pth or .safetensors file, or a directory of safetensors")
    parser.add_argument("model", help="model directory to write, or to add to")
    parser.add_argument("--name", help="name of the model (default: that of the source)")
    parser.add_argument("--text", metavar="PATH", help="UMT5 text encoder that the model is to use (not copied)")


def run(options: argparse.Namespace) -> None:
    from penstock.runtime.convert import convert

    with ProgressBar("weights") as bar:
        model = convert(options.source, options.model, options.name, bar.update, options.text)
    dit = model.spec.dit
    emit(
        {"model": str(model.path), **model.spec.to_json()},
        options.json,
        f"{model.path}: {model.spec.name}, width {dit.dim}, {dit.heads} heads, {dit.layers} layers; "
        f"holds {', '.join(model.spec.components())}",
    )
