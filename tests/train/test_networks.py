"""The training networks are the networks that run: against diffusers, and against the engine's stream."""

from __future__ import annotations

import numpy as np
import torch

from penstock.runtime.config import Config
from penstock.runtime.vae_spec import WanVaeSpec, wan_vae_parameters
from tests.helpers import relative_l2
from tests.models.random_coder import RandomCoder
from tests.models.random_dit import RandomDit, prompt
from tests.models.test_wan_dit import TINY
from tests.models.test_wan_vae import diffusers_vae
from tools.train_tiny.dit import FLOW_GAIN, WanDit
from tools.train_tiny.vae import WanVae

VAE = WanVaeSpec(base_dim=8, mean=(0.0,) * 16, std=(1.0,) * 16)
CHUNKS = 9  # with the first: the cache of 6 frames evicts three times


def load(module: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    module.load_state_dict({key.replace(".", "/"): value for key, value in weights.items()}, strict=True)


@torch.inference_mode()
def test_the_vae_is_that_of_diffusers(rng: np.random.Generator) -> None:
    coder = RandomCoder.draw("vae", wan_vae_parameters(VAE), rng)
    vae, theirs = WanVae(VAE), diffusers_vae(VAE, coder)
    load(vae, coder.weights)
    for frames in (1, 9):
        clip = torch.from_numpy(rng.uniform(-1, 1, (2, frames, 3, 24, 16)).astype(np.float32))
        latents = vae.encode(clip)
        expected = theirs.encode(clip.transpose(1, 2)).latent_dist.mean
        assert relative_l2(latents, expected.transpose(1, 2)) <= 1e-5
        decoded = theirs.decode(expected).sample.transpose(1, 2)
        assert float(decoded.abs().max()) == 1 or frames == 1  # they clamp, and something is clamped
        assert relative_l2(vae.decode(latents).clamp(-1, 1), decoded) <= 1e-5


@torch.inference_mode()
def test_the_dit_sees_what_the_stream_sees(rng: np.random.Generator) -> None:
    """One step at a level of each chunk's own, over the rolling cache, in one masked forward over the whole clip."""
    drawn = RandomDit.draw(TINY, rng)
    dit = WanDit(TINY)
    scaled = {key: value / FLOW_GAIN if key.startswith("head.head") else value for key, value in drawn.weights.items()}
    load(dit, scaled)
    config = Config(height=32, width=48, steps=1, timesteps=(700,), sink_threshold=-1.0)
    latents = rng.standard_normal((CHUNKS + 1, 16, 4, 6), dtype=np.float32)
    timesteps = np.repeat(rng.integers(1, 1000, CHUNKS), [2] + [1] * (CHUNKS - 1))
    text = prompt(TINY, 9, rng)

    session = drawn.engine(config).session()
    session.set_prompt(text)
    session.write("noise_scale", [0.0])
    flows = []
    for chunk in range(CHUNKS):
        suffix, rows = ("", slice(chunk + 1, chunk + 2)) if chunk else ("_first", slice(0, 2))
        session.write("timestep", [float(timesteps[rows][0])])
        session.write(f"latents{suffix}", latents[rows])
        session.run(f"denoise{suffix}")
        flows.append(session.read(f"flow{suffix}")[0])

    context = torch.zeros(2, TINY.text_len, TINY.text_dim)
    context[1, :9] = torch.from_numpy(text)
    flow = dit(torch.from_numpy(latents)[None], torch.from_numpy(timesteps)[None].float(),
               torch.arange(CHUNKS + 1)[None], context, torch.ones(1, CHUNKS + 1, dtype=torch.long))  # fmt: skip
    assert relative_l2(np.concatenate(flows), flow[0]) <= 1e-5
    assert relative_l2(dit.weights()["head.head.bias"], drawn.weights["head.head.bias"]) <= 1e-6


def test_the_networks_make_their_tensors_on_their_own_device() -> None:
    """The meta device refuses, as a GPU does, to be mixed with the CPU."""
    vae, dit = WanVae(VAE).to("meta"), WanDit(TINY).to("meta")
    latents = vae.encode(torch.empty(2, 5, 3, 32, 48, device="meta"))
    assert vae.decode(latents).shape == (2, 5, 3, 32, 48)
    frames = [torch.empty(2, 2, dtype=dtype, device="meta") for dtype in (torch.float32, torch.int64, torch.int64)]
    context = torch.empty(2, TINY.text_len, TINY.text_dim, device="meta")
    assert dit(latents, frames[0], frames[1], context, frames[2]).shape == latents.shape
