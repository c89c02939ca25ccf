"""Latents of clips and of the same clips in known styles, by the trained encoder: what the DiT is trained on."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from penstock.evaluation.styles import STYLES

from . import checkpoint
from .data import ClipSource, prefetched
from .train_vae import SPEC, STAGES
from .vae import WanVae

LATENT_FRAMES = 6  # first chunk of 2 latents and 4 more chunks: a full rolling cache
FRAMES = 4 * LATENT_FRAMES - 3
CLIPS, _STYLES = 16, 3  # per file, and styles of each clip
SIZES = ((64, 64), (64, 64), (48, 96), (96, 48), (32, 128))
_STEP = 10_000_000  # of the data's seed, behind those of the VAE's stages


def load_vae(folder: Path) -> WanVae:
    """The averaged VAE of the latest stage in ``folder``; the decoder's own stage leaves the encoder as it is."""
    vae = WanVae(SPEC)
    found = [folder / f"vae_{stage.name}.pt" for stage in reversed(STAGES)]
    state = checkpoint.load(next(path for path in found if path.exists()))
    checkpoint.load_average(vae, state["average"])
    return vae.requires_grad_(False)


def make_latents(folder: Path, source: ClipSource, files: int, device: str = "cpu", workers: int = 0) -> None:
    """Writes what is missing of the first ``files`` files: source [clips, F, z, h, w], styled [clips, k, F, z, h, w].

    F = 6. `styles` [clips, k] are indices into STYLES. workers: processes that make clips ahead.
    """
    vae, start = load_vae(folder).to(device), time.monotonic()
    (folder / "latents").mkdir(exist_ok=True)
    missing = [index for index in range(files) if not _path(folder, index).exists()]
    samples = prefetched(functools.partial(_clips, source), missing, workers)
    for index, (styles, clips) in zip(missing, samples, strict=True):
        plain, styled = _encode(vae, clips.to(device)).split([1, clips.shape[1] - 1], 1)
        checkpoint.save(
            _path(folder, index), {"source": plain[:, 0].clone(), "styled": styled.clone(), "styles": styles}
        )
        print(f"latents {index + 1}/{files}, {time.monotonic() - start:.0f} s", flush=True)


def _path(folder: Path, index: int) -> Path:
    return folder / "latents" / f"{index:05d}.pt"


def _clips(source: ClipSource, index: int) -> tuple[Tensor, Tensor]:
    """Styles [clips, k], and the clips plain and in these styles [clips, 1 + k, T, H, W, 3]."""
    rng = np.random.default_rng((source.seed, _STEP + index))
    height, width = SIZES[index % len(SIZES)]
    clips = [source.clip(_STEP + index, i, FRAMES, height, width) for i in range(CLIPS)]
    styles = np.stack([rng.choice(len(STYLES), _STYLES, replace=False) for _ in clips])
    versions = [np.stack([clip, *(STYLES[style].apply(clip) for style in chosen)])
                for clip, chosen in zip(clips, styles, strict=True)]  # fmt: skip
    return torch.from_numpy(styles), torch.from_numpy(np.clip(np.stack(versions), 0, 1).astype(np.float32))


@torch.inference_mode()
def _encode(vae: WanVae, clips: Tensor) -> Tensor:
    """Latents float16 [clips, versions, F, z, h, w] on the CPU, a clip's versions at a time."""
    return torch.stack([vae.encode(2 * versions.permute(0, 1, 4, 2, 3) - 1).half().cpu() for versions in clips])
