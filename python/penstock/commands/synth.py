"""Write a model directory with random weights of a preset's real shapes: for tests, benchmarks and trying things out.

It gets the DiT, the Wan VAE and TAEHV; the preset tiny also a placeholder text encoder.
"""

from __future__ import annotations

import argparse

from penstock.commands.output import ProgressBar, bytes_text, emit
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import PRESETS

HELP = "write a model directory (DiT, Wan VAE, TAEHV) with random weights of a preset's real shapes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", help=", ".join(PRESETS))
    parser.add_argument("model", nargs="?", help="model directory to write (not with --dry-run)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), default="bf16")
    parser.add_argument("--dry-run", action="store_true", help="only count tensors and parameters")


def run(options: argparse.Namespace) -> None:
    from penstock.runtime.synth import synth

    if options.model is None and not options.dry_run:
        raise PenstockError("synth: expected a model directory to write, or --dry-run")
    with ProgressBar("weights") as bar:
        report = synth(options.preset, options.model, options.seed, options.dry_run, options.dtype, bar.update)
    where = "dry run" if options.dry_run else str(report.path)
    emit(
        {"preset": options.preset, **report.total.to_json(),
         "components": {component: count.to_json() for component, count in report.components.items()},
         "model": None if options.dry_run else str(report.path)},
        options.json,
        "\n".join(f"{name:<8} {count.tensors:>5} tensors, {count.parameters:>14,} parameters, {bytes_text(count.bytes)}"
                  for name, count in {**report.components, "in all": report.total}.items()) + f" ({where})",
    )  # fmt: skip
