"""Convert published weights into a model directory: model.pt, original Wan or diffusers safetensors."""

from __future__ import annotations

import argparse

from penstock.commands.output import ProgressBar, emit

HELP = "convert published weights into a model directory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=".pt, .pth or .safetensors file, or a directory of safetensors")
    parser.add_argument("model", help="model directory to write")
    parser.add_argument("--name", help="name of the model (default: that of the source)")


def run(options: argparse.Namespace) -> None:
    from penstock.runtime.convert import convert

    with ProgressBar("weights") as bar:
        model = convert(options.source, options.model, options.name, bar.update)
    dit = model.spec.dit
    emit(
        {"model": str(model.path), **model.spec.to_json()},
        options.json,
        f"{model.path}: {model.spec.name}, width {dit.dim}, {dit.heads} heads, {dit.layers} layers",
    )
