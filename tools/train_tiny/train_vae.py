"""Trains the Wan VAE: on single pictures, which is cheap, then on clips of 5 and 9 frames, then the decoder alone.

The latents get a little noise, so that the decoder stands the errors of a diffusion model; a penalty on their size
stands for the KL term.
"""

from __future__ import annotations

import functools
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from penstock.runtime.vae_spec import WanVaeSpec

from . import checkpoint
from .data import ClipSource, prefetched, styled
from .muon import Muon, schedule
from .vae import WanVae

LATENT_NOISE, LATENT_PENALTY, PLAIN_SHARE, DECAY = 0.05, 1e-3, 0.3, 0.998
COMPILED = True  # kernels by torch.compile: half of the time, and half a minute at the start
SPEC = WanVaeSpec(base_dim=16, mean=(0.0,) * 16, std=(1.0,) * 16)


@dataclass(frozen=True)
class Stage:
    """A part of the training: steps, clips per step, their lengths (one is drawn per step), their side, the rate."""

    name: str
    steps: int
    batch: int
    frames: tuple[int, ...]
    side: int
    rate: float
    decoder_only: bool = False


STAGES = (
    Stage("pictures", 10000, 4, (1,), 64, 0.02),
    Stage("clips", 4000, 1, (5, 9), 64, 0.004),
    Stage("decoder", 4000, 1, (5, 9), 64, 0.004, decoder_only=True),
)


def train_vae(
    folder: Path,
    source: ClipSource,
    stage: Stage,
    until: int | None = None,
    report: int = 100,
    device: str = "cpu",
    workers: int = 0,
) -> list[float]:
    """Runs or resumes a stage in ``folder``; starts from the stage before where there is no checkpoint of it yet.

    until: the step to stop at, the last one without; workers: processes that make clips ahead. Returns the losses of
    the steps that were run now.
    """
    torch.manual_seed(source.seed)
    vae = WanVae(SPEC, COMPILED).to(device)
    average = checkpoint.Average(vae, DECAY)
    optimizer = Muon(vae.named_parameters(), stage.rate, stage.rate / 10)
    path, first = folder / f"vae_{stage.name}.pt", 0
    if state := checkpoint.load(path, device):
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, first = state["average"], state["step"]
    elif state := _stage_before(folder, stage, device):
        checkpoint.load_average(vae, state["average"])
        average = checkpoint.Average(vae, DECAY)
    if stage.decoder_only:
        _freeze_encoder(vae)
    losses, start = [], time.monotonic()
    last = stage.steps if until is None else until
    batches = prefetched(functools.partial(_batch, source, stage), range(first, last), workers)
    for step, clips in zip(range(first, last), batches, strict=True):
        optimizer.scale_rates(schedule(step, stage.steps))
        loss, error = _losses(vae, clips.to(device), step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update(vae, step)
        losses.append(loss.item())
        if (step + 1) % report == 0 or step + 1 == last:
            psnr = -10 * math.log10(error / 4)
            print(f"vae {stage.name} {step + 1}/{stage.steps}: loss {np.mean(losses[-report:]):.4f}, last batch "
                  f"{psnr:.2f} dB, {time.monotonic() - start:.0f} s", flush=True)  # fmt: skip
            checkpoint.save(path, {"model": vae.state_dict(), "optimizer": optimizer.state_dict(),
                                   "average": average.values, "step": step + 1})  # fmt: skip
    return losses


def _stage_before(folder: Path, stage: Stage, device: str) -> dict | None:
    names = [entry.name for entry in STAGES]
    before = names[: names.index(stage.name)]
    found = [folder / f"vae_{name}.pt" for name in reversed(before) if (folder / f"vae_{name}.pt").exists()]
    return checkpoint.load(found[0], device) if found else None


def _freeze_encoder(vae: WanVae) -> None:
    for key, value in vae.weights().items():
        if key.startswith(("encoder.", "conv1.")):
            value.requires_grad_(False)


def _batch(source: ClipSource, stage: Stage, step: int) -> Tensor:
    """Clips [N, T, 3, H, W], -1 to 1, a part of them styled."""
    offset = 1_000_000 * [entry.name for entry in STAGES].index(stage.name)
    rng = np.random.default_rng((source.seed, offset + step, 1 << 16))
    frames = int(rng.choice(stage.frames))
    clips = [
        styled(source.clip(offset + step, i, frames, stage.side, stage.side), rng, PLAIN_SHARE)
        for i in range(stage.batch)
    ]
    return torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3) * 2 - 1


def _losses(vae: WanVae, clips: Tensor, step: int) -> tuple[Tensor, float]:
    """The training loss, and the mean squared error of the reconstruction."""
    generator = torch.Generator().manual_seed(step)
    latents = vae.encode(clips)
    noise = LATENT_NOISE * torch.randn(latents.shape, generator=generator)
    decoded = vae.decode(latents + noise.to(latents.device))
    square = F.mse_loss(decoded, clips)
    loss = F.l1_loss(decoded, clips) + 2 * square + LATENT_PENALTY * latents.square().mean()
    return loss, square.item()
