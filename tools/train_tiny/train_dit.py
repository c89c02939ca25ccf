"""Trains the DiT and the text encoder to turn noised latents of a clip into the latents of its picture in a style.

This is flow matching between the two ends that the runtime's stream really has. Its first step begins at the source
mixed with noise, x = s * noise + (1 - s) * source, told the timestep 1000 s - 100 (specification 2.7); later ones begin
at the step before, noised anew. In both the flow must lead to the styled latents: x - sigma * flow = styled. So few
steps suffice, and no distillation is needed.

The mask is that of the rolling cache. Some clips get the first frames, the later sinks, of another clip with another
prompt, and positions far from them: what a stream sees after a cut, after a new prompt, and late.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import UMT5EncoderModel

from penstock.runtime.dit_spec import DitSpec
from penstock.runtime.schedule import sigma_of

from . import checkpoint
from .dit import WanDit
from .muon import Muon, schedule
from .text import TEXT_DIM, TEXT_LEN, embed, random_prompt, text_encoder

SPEC = DitSpec(dim=256, ffn_dim=768, heads=2, layers=4, text_len=TEXT_LEN, text_dim=TEXT_DIM, freq_dim=256)
SINKS, FIRST = 3, 2  # latent frames pinned in the cache, and of the first chunk
STEPS = 8000
BATCH = 16
_MUON_RATE, _ADAM_RATE, _DECAY = 0.02, 2e-3, 0.998
_LAST_POSITION = 49  # positions start again behind it


@dataclass(frozen=True)
class Batch:
    """Clean source and styled latents [N, T, C, h, w], and per frame its position and prompt [N, T]."""

    source: Tensor
    styled: Tensor
    positions: Tensor
    prompts: Tensor
    texts: list[str]

    def to(self, device: str) -> Batch:
        tensors = (self.source, self.styled, self.positions, self.prompts)
        return Batch(*(tensor.to(device) for tensor in tensors), self.texts)


class LatentFiles:
    """The files of `make_latents`, normalised by the statistics of the first of them."""

    def __init__(self, folder: Path, statistics: tuple[Tensor, Tensor] | None = None):
        self.files = [torch.load(path, weights_only=True) for path in sorted((folder / "latents").glob("*.pt"))]
        first = torch.cat([self.files[0]["source"].flatten(0, 1), self.files[0]["styled"].flatten(0, 2)]).float()
        moments = first.mean((0, 2, 3)), first.std((0, 2, 3))
        self.mean, self.std = moments if statistics is None else statistics

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        file = self.files[rng.integers(len(self.files))]
        clips = rng.integers(len(file["source"]), size=size)
        choices = rng.integers(file["styles"].shape[1], size=size)
        source = self.normalised(file["source"][clips])
        styled = self.normalised(file["styled"][clips, choices])
        texts = [random_prompt(int(style), rng) for style in file["styles"][clips, choices]]
        n, t = source.shape[:2]
        prompts = torch.arange(n)[:, None].repeat(1, t)
        positions = torch.arange(t).repeat(n, 1)
        later = torch.from_numpy(rng.integers(0, _LAST_POSITION + 2 - t, n) * (rng.random(n) < 0.6))
        positions[:, SINKS:] += later[:, None]
        other = torch.from_numpy(np.where(rng.random(n) < 0.35, rng.permutation(n), np.arange(n)))
        for tensor in (source, styled, prompts):
            tensor[:, :SINKS] = tensor[other, :SINKS]
        return Batch(source, styled, positions, prompts, texts)

    def normalised(self, latents: Tensor) -> Tensor:
        return (latents.float() - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)


def train_dit(
    folder: Path, seed: int, steps: int, batch: int = BATCH, report: int = 50, device: str = "cpu"
) -> list[float]:
    """Runs or resumes the training in ``folder`` up to ``steps``; returns the losses of the steps run now."""
    torch.manual_seed(seed)
    dit, text = WanDit(SPEC), text_encoder()
    model = torch.nn.ModuleDict({"dit": dit, "text": text}).to(device)
    optimizer = Muon(model.named_parameters(), _MUON_RATE, _ADAM_RATE)
    average = checkpoint.Average(model, _DECAY)
    path, first, statistics = folder / "dit.pt", 0, None
    if state := checkpoint.load(path, device):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, first, statistics = state["average"], state["step"], (state["mean"].cpu(), state["std"].cpu())
    files = LatentFiles(folder, statistics)
    losses, start = [], time.monotonic()
    for step in range(first, steps):
        rng = np.random.default_rng((seed, step))
        torch.manual_seed(seed + step)
        optimizer.scale_rates(schedule(step, steps))
        loss = _loss(dit, text, files.batch(rng, batch).to(device), rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update(model, step)
        losses.append(loss.item())
        if (step + 1) % report == 0 or step + 1 == steps:
            print(f"dit {step + 1}/{steps}: loss {np.mean(losses[-report:]):.4f}, {time.monotonic() - start:.0f} s",
                  flush=True)  # fmt: skip
            checkpoint.save(path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                                   "average": average.values, "step": step + 1, "mean": files.mean,
                                   "std": files.std})  # fmt: skip
    return losses


def _loss(dit: WanDit, text: UMT5EncoderModel, batch: Batch, rng: np.random.Generator) -> Tensor:
    """Mean squared error of the clean latents that the flow leads to, of a first step or a later one."""
    context = embed(text, batch.texts)
    device, (n, t) = batch.source.device, batch.prompts.shape
    scale, timesteps = (levels.to(device).repeat(1, t) for levels in _first_step_levels(rng, n))
    x = _mixed(batch.source, scale)
    if rng.random() < 0.35:
        with torch.no_grad():
            before = _clean(dit, x, timesteps, batch, context)
        timesteps = _later_levels(rng, n).to(device).repeat(1, t)
        x = _mixed(before, _sigmas(timesteps))
    elif rng.random() < 0.5:  # the first chunk's keys and values are those of its last step in every cache
        later = _later_levels(rng, n).to(device).repeat(1, FIRST)
        x = torch.cat([_mixed(batch.styled[:, :FIRST], _sigmas(later)), x[:, FIRST:]], 1)
        timesteps = torch.cat([later, timesteps[:, FIRST:]], 1)
    return F.mse_loss(_clean(dit, x, timesteps, batch, context), batch.styled)


def _first_step_levels(rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor]:
    """Noise scales and told timesteps [N, 1]: mostly those of a faithful stream, some up to nearly pure noise."""
    scale = np.where(rng.random((n, 1)) < 0.75, rng.uniform(0.15, 0.4, (n, 1)), rng.uniform(0.1, 0.9, (n, 1)))
    jitter = rng.uniform(-60, 60, (n, 1)) * (rng.random((n, 1)) < 0.3)
    timesteps = np.clip(np.floor(1000 * scale - 100 + jitter), 30, 1000)
    return torch.from_numpy(scale).float(), torch.from_numpy(timesteps).float()


def _later_levels(rng: np.random.Generator, n: int) -> Tensor:
    """Timesteps [N, 1] of steps after the first."""
    return torch.from_numpy(rng.uniform(20, 300, (n, 1))).float().round()


def _clean(dit: WanDit, x: Tensor, timesteps: Tensor, batch: Batch, context: Tensor) -> Tensor:
    flow = dit(x, timesteps, batch.positions, context, batch.prompts)
    return x - _per_frame(_sigmas(timesteps)) * flow


def _mixed(clean: Tensor, share: Tensor) -> Tensor:
    """share * noise + (1 - share) * clean, the share given per frame."""
    share = _per_frame(share)
    return share * torch.randn_like(clean) + (1 - share) * clean


def _sigmas(timesteps: Tensor) -> Tensor:
    return torch.tensor([[sigma_of(t) for t in row] for row in timesteps.tolist()], device=timesteps.device)


def _per_frame(values: Tensor) -> Tensor:
    return values[:, :, None, None, None]
