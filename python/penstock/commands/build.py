"""Write an engine directory: a model's plan and packed weights for one denoising configuration."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from penstock.commands.config_options import add_config_arguments, config_fields
from penstock.commands.output import ProgressBar, bytes_text, emit
from penstock.runtime.config import Config
from penstock.runtime.errors import PenstockError

if TYPE_CHECKING:
    from penstock.models import Model
    from penstock.runtime.prompt import Prompt

HELP = "write an engine directory for one configuration"


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """ "480x832" → (480, 832): height, width in pixels."""
    match = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text)
    if not match:
        raise PenstockError(f"{option}: expected HEIGHTxWIDTH such as 480x832, got {text!r}")
    return int(match[1]), int(match[2])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model directory, or tiny")
    parser.add_argument("engine", help="engine directory to write")
    add_config_arguments(parser)
    parser.add_argument("--prompt", metavar="TEXT", help="what a host's sessions begin with, or a prompt.safetensors "
                        "file; without it the host sets one")  # fmt: skip
    parser.add_argument("--text-to-video", action="store_true", help="from noise instead of frames")


def read_or_embed(prompt: str, model: Model) -> Prompt:
    """The prompt of a prompt.safetensors file, or of a text by the model's text encoder."""
    from penstock.runtime.prompt import read_prompt

    return read_prompt(prompt) if prompt.endswith(".safetensors") else model.embed(prompt)


def run(options: argparse.Namespace) -> None:
    from penstock.models import load
    from penstock.runtime.build import build

    model = load(options.model)
    height, width = parse_size(options.size)
    fields = config_fields(options) | {"height": height, "width": width}
    config = Config.text_to_video(**fields) if options.text_to_video else Config(**model.settings | fields)
    prompt = None if options.prompt is None else read_or_embed(options.prompt, model)
    with ProgressBar("weights") as bar:
        report = build(model.directory.path, options.engine, config, bar.update, prompt)
    emit(
        {"engine": str(report.path), "plan": report.plan.name, "weights": report.weights,
         "weight_bytes": report.weight_bytes},
        options.json,
        f"{report.path}: {report.plan.name}, {report.weights} weights, {bytes_text(report.weight_bytes)}",
    )  # fmt: skip
