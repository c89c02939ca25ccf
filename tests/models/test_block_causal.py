"""Streams, chunk by chunk over the rolling cache, against a float64 computation over the whole clip.

The clip is long enough for the cache to fill, to be full and to evict. What the cache does not hold yet is NaN, outputs
are NaN before every call, and every chunk has its own noise level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from penstock.runtime.config import Config
from penstock.runtime.dit_spec import DitSpec
from penstock.runtime.engine import Session
from tests.helpers import assert_accurate, normal, relative_l2
from tests.models.block_causal import BlockCausalDit, ClipDenoiser
from tests.models.random_dit import RandomDit, prompt

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TINY = DitSpec(dim=48, ffn_dim=80, heads=2, layers=2, text_len=24, text_dim=40, freq_dim=32)
HEAD_128 = DitSpec(dim=256, ffn_dim=320, heads=2, layers=2, text_len=24, text_dim=40, freq_dim=32)
CHUNKS = 13  # with the first one
TIMESTEPS = (900, 640, 350, 120)
BATCH, SEQUENTIAL = "stream_batch", "sequential"

Results = dict[tuple[int, int], np.ndarray]  # (chunk, step) -> x0 [F, C, h, w]


def make_config(**fields: object) -> Config:
    return Config(**{"height": 64, "width": 96, "timesteps": TIMESTEPS, "sink_threshold": -1.0, **fields})


CONFIGS = {
    "batch_of_1": make_config(mode=BATCH, steps=1),
    "batch_of_2": make_config(mode=BATCH, steps=2),
    "batch_of_4": make_config(mode=BATCH, steps=4),
    "shared": make_config(mode=SEQUENTIAL, steps=3, history="shared"),
    "per_step": make_config(mode=SEQUENTIAL, steps=3, history="per_step"),
    "fast": make_config(mode=BATCH, steps=2, cache_frames=5, sink_frames=2),
    "one_sink": make_config(mode=SEQUENTIAL, steps=2, cache_frames=4, sink_frames=1, height=48, width=80),
    "chunks_of_3": make_config(mode=BATCH, steps=2, chunk_latents=3, first_latents=3, cache_frames=9, sink_frames=3),
    "refreshed": make_config(mode=BATCH, steps=2, refresh_frames=8),
    "refreshed_per_step": make_config(mode=SEQUENTIAL, steps=2, history="per_step", refresh_frames=7),
    "refreshed_3": make_config(
        mode=SEQUENTIAL, steps=1, chunk_latents=3, first_latents=3, cache_frames=6, sink_frames=0, refresh_frames=11
    ),
    "no_sinks": make_config(mode=SEQUENTIAL, steps=2, chunk_latents=3, first_latents=3, cache_frames=6, sink_frames=0),
}
PHILOX = ("batch_of_4", "shared", "per_step", "chunks_of_3")


@dataclass(frozen=True)
class Clip:
    """Inputs by call: latents [F, C, h, w], noise level, and noise [steps, F, C, h, w] unless Philox draws it."""

    latents: list[np.ndarray]
    noise_scale: list[float]
    noise: list[np.ndarray] | None
    seed: int
    text: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, spec: DitSpec, config: Config, calls: int, noise_given: bool) -> Clip:
        size = (spec.in_channels, config.latent_height, config.latent_width)
        frames = [config.chunk_latents if call else config.first_latents for call in range(calls)]
        noise = [normal(rng, config.steps, count, *size) for count in frames] if noise_given else None
        scales = [float(scale) for scale in rng.uniform(0.5, 0.9, calls).astype(np.float32)]
        return cls([normal(rng, count, *size) for count in frames], scales, noise, int(rng.integers(2**63)),
                   prompt(spec, 7, rng))  # fmt: skip

    def draws_of(self, chunk: int, config: Config) -> torch.Tensor | None:
        """The noise of one chunk: a stream batch takes draw i + 1 of a chunk in the call in which it is in slot i."""
        if self.noise is None:
            return None
        lag = 1 if config.mode == BATCH and chunk else 0
        return torch.stack([torch.from_numpy(self.noise[chunk + lag * max(draw - 1, 0)][draw])
                            for draw in range(config.steps)])  # fmt: skip


def run_engine(dit: RandomDit, config: Config, clip: Clip) -> Results:
    session = dit.engine(config).session()
    for layer in range(dit.spec.layers):
        for cache in ("k_cache", "v_cache"):
            fill_with_nan(session, f"blocks.{layer}.{cache}")
    return run_session(session, config, clip)


def run_session(session: Session, config: Config, clip: Clip) -> Results:
    session.set_prompt(clip.text)
    session.write("seed", [clip.seed])
    session.write("noise_given", [clip.noise is not None])
    results = {}
    for call, latents in enumerate(clip.latents):
        x0 = run_call(session, "" if call else "_first", clip, call, latents)
        for slot, chunk in enumerate(range(call, call - config.slots, -1)):
            if call == 0 or config.mode == SEQUENTIAL:
                results[call, config.steps - 1] = x0[0]
            elif chunk >= 1:  # before the pipe is full, the later slots hold no chunk
                results[chunk, slot] = x0[slot]
    return results


def run_call(session: Session, suffix: str, clip: Clip, call: int, latents: np.ndarray) -> np.ndarray:
    session.write(f"latents{suffix}", latents)
    session.write("noise_scale", [clip.noise_scale[call]])
    if clip.noise is not None:
        session.write(f"noise{suffix}", clip.noise[call])
    else:
        fill_with_nan(session, f"noise{suffix}")
    fill_with_nan(session, f"x0{suffix}")
    fill_with_nan(session, f"flow{suffix}")
    session.run(f"denoise{suffix}")
    return session.read(f"x0{suffix}")


def fill_with_nan(session: Session, name: str) -> None:
    session.write(name, np.full(session.engine.tensor_info(name).shape, np.nan, np.float32))


def denoise_clip(
    dit: RandomDit, config: Config, clip: Clip, dtype: torch.dtype, chunks: int
) -> dict[tuple[int, int], torch.Tensor]:
    network = BlockCausalDit(dit.spec, config, dit.weights, torch.from_numpy(clip.text), dtype)
    denoiser = ClipDenoiser(network, clip.seed)
    results = {}
    for chunk in range(chunks):
        latents, noise = torch.from_numpy(clip.latents[chunk]), clip.draws_of(chunk, config)
        for step, x0 in enumerate(denoiser.denoise(chunk, latents, clip.noise_scale[chunk], noise)):
            results[chunk, step] = x0
    return results


def check_stream(
    rng: np.random.Generator, spec: DitSpec, config: Config, noise_given: bool, chunks: int = CHUNKS
) -> None:
    dit = RandomDit.draw(spec, rng)
    clip = Clip.draw(rng, spec, config, chunks + config.slots - 1, noise_given)
    actual = run_engine(dit, config, clip)
    exact, plain = (denoise_clip(dit, config, clip, dtype, chunks) for dtype in (torch.float64, torch.float32))
    for chunk in range(chunks):
        keys = [(chunk, step) for step in range(config.steps) if (chunk, step) in actual]
        assert keys[-1] == (chunk, config.steps - 1)
        values = np.stack([actual[key] for key in keys])
        expected, yardstick = (torch.stack([results[key] for key in keys]) for results in (exact, plain))
        assert_accurate(values, expected, yardstick, 1e-6, f"chunk {chunk}")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_chunk_with_injected_noise(rng: np.random.Generator, name: str) -> None:
    check_stream(rng, TINY, CONFIGS[name], noise_given=True)


@pytest.mark.parametrize("name", PHILOX)
def test_every_chunk_with_philox_noise(rng: np.random.Generator, name: str) -> None:
    check_stream(rng, TINY, CONFIGS[name], noise_given=False)


@pytest.mark.parametrize("name", ["batch_of_2", "shared"])
def test_sixty_chunks_across_the_refresh(rng: np.random.Generator, name: str) -> None:
    """Positions start again at 50, after chunk 48: the reference keeps raw keys and applies the re-based positions."""
    check_stream(rng, TINY, CONFIGS[name], noise_given=False, chunks=60)


def test_heads_of_128(rng: np.random.Generator) -> None:
    check_stream(rng, HEAD_128, make_config(mode=BATCH, steps=2, height=48, width=80), noise_given=True)


def test_a_stream_batch_equals_sequential_steps(rng: np.random.Generator) -> None:
    """With a history for every step, batching the steps changes when a chunk comes out, and nothing else."""
    dit = RandomDit.draw(TINY, rng)
    batch = make_config(mode=BATCH, steps=3)
    sequential = make_config(mode=SEQUENTIAL, steps=3, history="per_step")
    clip = Clip.draw(rng, TINY, batch, CHUNKS + batch.slots - 1, noise_given=False)
    batched, stepped = run_engine(dit, batch, clip), run_engine(dit, sequential, clip)
    for chunk in range(CHUNKS):
        error = relative_l2(batched[chunk, 2], stepped[chunk, 2])
        print(f"chunk {chunk}: relative L2 between the modes {error:.1e}")
        assert error <= 1e-6


@pytest.mark.parametrize("name", ["batch_of_2", "shared"])
def test_a_reset_session_replays_a_stream_to_the_bit(rng: np.random.Generator, name: str) -> None:
    config = CONFIGS[name]
    clip = Clip.draw(rng, TINY, config, CHUNKS + config.slots - 1, noise_given=False)
    session = RandomDit.draw(TINY, rng).engine(config).session()
    first = run_session(session, config, clip)
    session.reset()
    second = run_session(session, config, clip)
    assert all(np.array_equal(second[key], first[key]) for key in first)
