"""Write an engine directory: a model's plan and packed weights for one denoising configuration."""

from __future__ import annotations

import argparse
import re

from penstock.commands.output import ProgressBar, bytes_text, emit
from penstock.runtime.config import HISTORIES, MODES, Config
from penstock.runtime.errors import PenstockError

HELP = "write an engine directory for one configuration"


def parse_size(text: str) -> tuple[int, int]:
    """ "480x832" → (480, 832): height, width in pixels."""
    match = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text)
    if not match:
        raise PenstockError(f"--size: expected HEIGHTxWIDTH such as 480x832, got {text!r}")
    return int(match[1]), int(match[2])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model directory")
    parser.add_argument("engine", help="engine directory to write")
    parser.add_argument("--size", default="480x832", metavar="HxW", help="pixels, multiples of 16 (default 480x832)")
    parser.add_argument("--steps", type=int, default=2, help="denoising steps per chunk (default 2)")
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="how the steps run (default stream_batch)")
    parser.add_argument("--history", choices=HISTORIES, default=HISTORIES[0], help="caches of sequential mode")
    parser.add_argument("--cache-frames", type=int, default=6, help="latent frames in the rolling cache (default 6)")
    parser.add_argument("--sink-frames", type=int, default=3, help="how many of them are pinned (default 3)")


def run(options: argparse.Namespace) -> None:
    from penstock.runtime.build import build

    height, width = parse_size(options.size)
    config = Config(height, width, options.steps, mode=options.mode, history=options.history,
                    cache_frames=options.cache_frames, sink_frames=options.sink_frames)  # fmt: skip
    with ProgressBar("weights") as bar:
        report = build(options.model, options.engine, config, bar.update)
    emit(
        {"engine": str(report.path), "plan": report.plan.name, "weights": report.weights,
         "weight_bytes": report.weight_bytes},
        options.json,
        f"{report.path}: {report.plan.name}, {report.weights} weights, {bytes_text(report.weight_bytes)}",
    )  # fmt: skip
