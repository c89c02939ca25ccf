"""Write random weights of a preset's real shapes: for tests, benchmarks and trying things out."""

from __future__ import annotations

import argparse

from penstock.commands.output import ProgressBar, bytes_text, emit
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import PRESETS

HELP = "write random weights of a preset's real shapes"


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
        {"preset": options.preset, "tensors": report.tensors, "parameters": report.parameters, "bytes": report.bytes,
         "model": None if options.dry_run else str(report.path)},
        options.json,
        f"{options.preset}: {report.tensors} tensors, {report.parameters:,} parameters, "
        f"{bytes_text(report.bytes)} ({where})",
    )  # fmt: skip
