"""Trains the packaged model: python -m tools.train_tiny STAGE ..., in the order of the stages; see README.md here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from .data import ClipSource
from .export import export
from .latents import make_latents
from .train_dit import BATCH as DIT_BATCH
from .train_dit import STEPS as DIT_STEPS
from .train_dit import train_dit
from .train_vae import STAGES, train_vae

_LATENT_FILES = 240


def main() -> None:
    stages = _stages()
    parser = argparse.ArgumentParser(prog="python -m tools.train_tiny", description=__doc__)
    parser.add_argument("stage", nargs="+", choices=[*stages, "all"], metavar="STAGE",
                        help=f"{', '.join(stages)}, or all of them")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("build/train_tiny"), help="folder of the checkpoints")
    parser.add_argument("--pictures", type=Path, help="folder of still pictures to train on, beside procedural clips")
    parser.add_argument("--model", type=Path, default=Path("build/tiny"), help="model directory that export writes")
    parser.add_argument("--scale", type=float, default=1.0, help="of all step and file counts, for a short run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of torch, cuda for a GPU")
    parser.add_argument("--workers", type=int, default=0, help="processes that make clips ahead; for a GPU all cores")
    parser.add_argument("--batch-scale", type=int, default=1, help="of the clips per step, for a GPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in stages if "all" in options.stage else options.stage:
        stages[name](options)


def _stages() -> dict[str, Callable[[argparse.Namespace], object]]:
    def scaled(options: argparse.Namespace, count: int) -> int:
        return max(1, round(options.scale * count))

    def source(options: argparse.Namespace) -> ClipSource:
        return ClipSource(options.pictures, options.seed)

    def vae(index: int) -> Callable[[argparse.Namespace], object]:
        def train(options: argparse.Namespace) -> None:
            stage = STAGES[index]
            stage = replace(stage, steps=scaled(options, stage.steps), batch=options.batch_scale * stage.batch)
            train_vae(options.out, source(options), stage, device=options.device, workers=options.workers)

        return train

    return {
        "vae-pictures": vae(0),
        "vae-clips": vae(1),
        "latents": lambda options: make_latents(
            options.out, source(options), scaled(options, _LATENT_FILES), options.device, options.workers
        ),
        "dit": lambda options: train_dit(
            options.out,
            options.seed,
            scaled(options, DIT_STEPS),
            options.batch_scale * DIT_BATCH,
            device=options.device,
        ),
        "vae-decoder": vae(2),
        "export": lambda options: export(options.out, options.model),
    }


if __name__ == "__main__":
    main()
