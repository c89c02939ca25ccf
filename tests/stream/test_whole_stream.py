"""A whole stream against code that shares nothing with it: diffusers' VAE on the whole clip, and the clip denoiser.

Encoding, noise controller, denoising over the rolling cache and decoding, as one: what a session makes of a clip equals
AutoencoderKLWan around the float64 denoiser of tests/models/block_causal.py, with the controller's formula in torch.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan

from penstock.models import Model
from penstock.runtime.config import Config
from penstock.runtime.dit_spec import dit_parameters
from penstock.runtime.vae_spec import wan_vae_parameters
from penstock.runtime.wan_vae_keys import to_diffusers_key
from penstock.session import Session
from tests.helpers import normal, relative_l2
from tests.models.block_causal import BlockCausalDit, ClipDenoiser
from tests.stream.conftest import SIZE, random_clip

CHUNKS = 10  # with the first one: the cache fills, is full and evicts
FRAMES = 5 + 4 * (CHUNKS - 1)
PROMPT = "a street in the rain at night"
TOLERANCE = 1e-5

CONFIGS = {
    "shared": {"mode": "sequential", "steps": 2},
    "batch": {"mode": "stream_batch", "steps": 3},
    "normalized": {"mode": "sequential", "steps": 1, "latent_norm": "normalized", "noise_scale": 0.55},
    "clean_context": {"mode": "sequential", "steps": 2, "clean_context": True},
    "no_controller": {"mode": "stream_batch", "steps": 2, "noise_controller": False, "noise_scale": 0.3},
    "long_chunks": {"mode": "sequential", "steps": 2, "chunk_latents": 3, "first_latents": 3, "cache_frames": 9},
}


class PublishedPipeline:
    """encode, control, denoise, decode of a whole clip, without a stream."""

    def __init__(self, model: Model, config: Config, prompt: np.ndarray, seed: int):
        self.config, spec = config, model.directory.spec
        with model.directory.open_weights() as weights:
            self.vae = AutoencoderKLWan(base_dim=spec.vae.base_dim, z_dim=16, dim_mult=list(spec.vae.dim_mult)).eval()
            vae = {key: torch.from_numpy(weights.numpy(f"vae.{key}")) for key in wan_vae_parameters(spec.vae)}
            self.vae.load_state_dict({to_diffusers_key(key): values for key, values in vae.items()}, strict=True)
            dit = {key: torch.from_numpy(weights.numpy(f"dit.{key}")) for key in dit_parameters(spec.dit)}
        network = BlockCausalDit(spec.dit, config, dit, torch.from_numpy(prompt), torch.float64)
        self.denoiser = ClipDenoiser(network, seed)
        self.mean, self.std = (torch.tensor(values).view(1, 16, 1, 1, 1) for values in (spec.vae.mean, spec.vae.std))

    def run(self, frames: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """x0 [F, 16, h, w] and frames [T, H, W, 3] in [0, 1]."""
        clip = (torch.from_numpy(frames).float() / 127.5 - 1).permute(3, 0, 1, 2)[None]
        with torch.inference_mode():
            latents = self.vae.encode(clip).latent_dist.mean
            if self.config.latent_norm == "normalized":
                latents = (latents - self.mean) / self.std
            x0 = torch.cat(self.denoise(latents[0].transpose(0, 1), clip))
            decoded = self.vae.decode(x0.float().transpose(0, 1)[None] * self.std + self.mean).sample
        return x0, (decoded[0].permute(1, 2, 3, 0) * 0.5 + 0.5).clamp(0, 1)

    def denoise(self, latents: torch.Tensor, clip: torch.Tensor) -> list[torch.Tensor]:
        config, results, level = self.config, [], self.config.noise_scale
        sizes = [config.first_latents]
        while sum(sizes) < len(latents):
            sizes.append(config.chunk_latents)
        for chunk, part in enumerate(latents.split(sizes)):
            timestep = None
            if chunk and config.noise_controller:
                last = 4 * (sum(sizes[: chunk + 1]) - 1)
                level, timestep = self.control(clip[:, :, last - 4 * len(part) : last + 1], level)
            # As in the stream, the level is a float32.
            results.append(self.denoiser.denoise(chunk, part, float(np.float32(level)), None, timestep)[-1])
        return results

    def control(self, frames: torch.Tensor, level: float) -> tuple[float, float]:
        """Level and timestep (spec 2.7) of a chunk with the frame before it, in the published precision."""
        frames = frames.bfloat16()
        motion = ((frames[:, :, 1:] - frames[:, :, :-1]) ** 2).mean(dim=(0, 1, 3, 4)).sqrt()
        dhat = (motion.max() / 0.2).clamp(0, 1).item()
        level = 0.9 * (self.config.noise_scale - 0.1 * dhat) + 0.1 * level
        return level, float(math.floor(1000 * level) - 100)


def staged(session: Session, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x0 and float frames by the stages one by one, as `push` and `flush` order them."""
    config = session.config
    x0, frames, start, delay = [], [], 0, config.slots - 1
    while start < len(clip) or delay:
        first = not start
        count = 4 * (config.first_latents if first else config.chunk_latents) - 3 * first
        if start < len(clip):
            session.encode(clip[start : start + count])
        else:
            delay -= 1
        x0.append(session.denoise()[-1])
        if first or len(x0) > config.slots:
            frames.append(session.decode())
        else:
            x0[-1] = x0[-1][:0]  # a slot that holds no chunk yet
        start += count
    return np.concatenate(x0), np.concatenate(frames)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_session_equals_the_published_pipeline(model: Model, rng: np.random.Generator, name: str) -> None:
    # Adaptive sinks have their own test (tests/models/test_adaptive_sinks.py).
    config = Config(height=SIZE[0], width=SIZE[1], sink_threshold=-1.0, **CONFIGS[name])
    seed = int(rng.integers(2**63))
    clip = random_clip(rng, FRAMES)
    # Some chunks at rest: the controller goes both ways.
    clip[13:21] = clip[12]
    first, chunk = 4 * config.first_latents - 3, 4 * config.chunk_latents
    clip = clip[: first + (FRAMES - first) // chunk * chunk]
    prompt = model.embed(PROMPT)
    with model.session(prompt, config=config, seed=seed, device="cpu", threads=2) as session:
        video = np.concatenate(list(session.stream(clip)))
        session.reset()
        x0, frames = staged(session, clip)
    expected_x0, expected = PublishedPipeline(model, config, prompt.embeddings, seed).run(clip)
    errors = relative_l2(x0, expected_x0), relative_l2(frames, expected)
    print(f"{name}: relative L2 of x0 {errors[0]:.1e}, of frames {errors[1]:.1e}")
    assert max(errors) <= TOLERANCE
    rounded = (expected * 255).round().numpy()
    assert video.shape == rounded.shape == clip.shape
    difference = np.abs(video - rounded)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_the_stages_take_what_they_are_given(model: Model, rng: np.random.Generator) -> None:
    """Latents, noise and timestep handed in; decoding of any latents."""
    config = Config(height=SIZE[0], width=SIZE[1], mode="sequential", steps=2)
    prompt = model.embed(PROMPT)
    reference = PublishedPipeline(model, config, prompt.embeddings, 0)
    first, later = (normal(rng, frames, 16, SIZE[0] // 8, SIZE[1] // 8) for frames in (2, 1))
    noises = [normal(rng, 2, *latents.shape) for latents in (first, later)]
    with model.session(prompt, config=config, device="cpu") as session:
        for chunk, (latents, noise, timestep) in enumerate(zip((first, later), noises, (None, 640), strict=True)):
            x0 = session.denoise(latents, noise, timestep)
            expected = reference.denoiser.denoise(chunk, torch.from_numpy(latents), float(np.float32(0.8)),
                                                  torch.from_numpy(noise), timestep)  # fmt: skip
            assert relative_l2(x0[-1], expected[-1]) <= TOLERANCE
        assert session._core.read("timestep").tolist() == [700, 500]
        frames = np.concatenate([session.decode(first), session.decode(later)])
        clip = torch.from_numpy(np.concatenate([first, later])).transpose(0, 1)[None]
        with torch.inference_mode():
            decoded = reference.vae.decode(clip * reference.std + reference.mean).sample[0].permute(1, 2, 3, 0)
        assert relative_l2(frames, (decoded * 0.5 + 0.5).clamp(0, 1)) <= TOLERANCE


def test_ring_reads_the_state_of_the_caches(model: Model, rng: np.random.Generator) -> None:
    config = Config(height=SIZE[0], width=SIZE[1], steps=2)
    with model.session(PROMPT, config=config, device="cpu") as session:
        session.push(random_clip(rng, 13))
        ring = session.ring()
    assert ring["chunk"] == [2]
    assert ring["row_chunk"].tolist() == [2, 1] and ring["frame_position"].tolist() == [3, 2]
    layers = model.directory.spec.dit.layers
    assert ring["ring_write"].tolist() == [[3, 2]] * layers and ring["ring_length"].tolist() == [[4, 3]] * layers
