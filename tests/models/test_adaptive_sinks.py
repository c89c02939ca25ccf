"""Streams whose caches are placed by their contents, chunk by chunk against a float64 computation of the same rule.

What the cache does not hold yet is NaN, outputs are NaN before every call, and positions start again several times.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from penstock.runtime.config import Config
from tests.helpers import assert_accurate, relative_l2
from tests.models.block_causal import ClipDenoiser
from tests.models.placed_cache import PlacedDit
from tests.models.random_dit import RandomDit
from tests.models.test_block_causal import BATCH, SEQUENTIAL, TINY, Clip, fill_with_nan, run_call, run_engine

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CHUNKS = 24  # with the first one
CLEAR_MARGIN = 2e-5  # between similarities and the threshold: what float32 decides as float64 does
USUAL = 0.5  # stands for the similarity that is usual in a stream: some chunks refresh a sink, and some do not
ALWAYS = 1.0
PUBLISHED = {"cache_policy": "streamdiffusionv2", "mode": SEQUENTIAL}


def make_config(**fields: object) -> Config:
    common = {"height": 48, "width": 80, "steps": 2, "sink_threshold": USUAL, "refresh_frames": 12}
    return Config(**{**common, **fields})


CONFIGS = {
    "batch_of_1": make_config(mode=BATCH, steps=1),
    "batch_of_3": make_config(mode=BATCH, steps=3),
    "shared": make_config(mode=SEQUENTIAL, steps=3),
    "per_step": make_config(mode=SEQUENTIAL, history="per_step"),
    "always": make_config(mode=SEQUENTIAL, sink_threshold=ALWAYS),
    "two_sinks": make_config(mode=BATCH, cache_frames=7, sink_frames=2, first_latents=3, refresh_frames=9),
    "published_shared": make_config(**PUBLISHED),
    "published_per_step": make_config(**PUBLISHED, history="per_step"),
    "published_always": make_config(**PUBLISHED, history="per_step", sink_threshold=ALWAYS),
    "published_fixed_sinks": make_config(**{**PUBLISHED, "mode": BATCH}, sink_threshold=-1.0),
    "published_chunks_of_3": make_config(**{**PUBLISHED, "mode": BATCH}, chunk_latents=3, first_latents=3,
                                         cache_frames=12, sink_frames=0, refresh_frames=20),
}  # fmt: skip

Results = dict[tuple[int, int], torch.Tensor]


def denoise(dit: RandomDit, config: Config, clip: Clip, dtype: torch.dtype) -> tuple[Results, PlacedDit]:
    network = PlacedDit(dit.spec, config, dit.weights, torch.from_numpy(clip.text), dtype)
    denoiser = ClipDenoiser(network, clip.seed)
    results = {}
    for chunk in range(CHUNKS):
        latents = torch.from_numpy(clip.latents[chunk])
        for step, x0 in enumerate(denoiser.denoise(chunk, latents, clip.noise_scale[chunk], None)):
            results[chunk, step] = x0
    return results, network


def draw(rng: np.random.Generator, config: Config) -> tuple[Config, RandomDit, Clip, Results]:
    """A stream without a decision so close that float32 may make another one, and its results.

    With the usual threshold, caches of the policy ``sink`` are refreshed at chunks that are not the same in all.
    """
    for _ in range(40):
        dit = RandomDit.draw(TINY, rng)
        clip = Clip.draw(rng, TINY, config, CHUNKS + config.slots - 1, noise_given=False)
        drawn = config
        if config.sink_threshold == USUAL and config.adaptive_sinks:
            _, network = denoise(dit, replace(config, sink_threshold=ALWAYS), clip, torch.float64)
            drawn = replace(config, sink_threshold=network.usual_similarity())
        results, network = denoise(dit, drawn, clip, torch.float64)
        refreshes = list(network.refreshes().values())
        chosen = drawn is config or drawn.cache_policy != "sink" or any(other != refreshes[0] for other in refreshes)
        if network.margin() > CLEAR_MARGIN and chosen:
            print(f"threshold {drawn.sink_threshold}, refreshes by cache and layer: {list(map(len, refreshes))}")
            return drawn, dit, clip, results
    raise AssertionError("no clear stream in 40 draws")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_chunk(rng: np.random.Generator, name: str) -> None:
    config, dit, clip, exact = draw(rng, CONFIGS[name])
    plain, _ = denoise(dit, config, clip, torch.float32)
    actual = run_engine(dit, config, clip)
    for chunk in range(CHUNKS):
        keys = [(chunk, step) for step in range(config.steps) if (chunk, step) in actual]
        assert keys[-1] == (chunk, config.steps - 1)
        values = np.stack([actual[key] for key in keys])
        expected, yardstick = (torch.stack([results[key] for key in keys]) for results in (exact, plain))
        assert_accurate(values, expected, yardstick, 1e-6, f"chunk {chunk}")


def run_and_watch(dit: RandomDit, config: Config, clip: Clip) -> tuple[list[np.ndarray], list[dict[str, np.ndarray]]]:
    """x0 of every call, and the fields of the rings after it."""
    session = dit.engine(config).session()
    for layer in range(dit.spec.layers):
        for cache in ("k_cache", "v_cache"):
            fill_with_nan(session, f"blocks.{layer}.{cache}")
    session.set_prompt(clip.text)
    session.write("seed", [clip.seed])
    results, rings = [], []
    for call, latents in enumerate(clip.latents):
        results.append(run_call(session, "" if call else "_first", clip, call, latents))
        rings.append({name: session.read(name) for name in ("ring_write", "ring_length", "ring_next", "sink_shift")})
    return results, rings


@pytest.mark.parametrize("threshold", [USUAL, 0.9999])
def test_a_stream_batch_equals_sequential_steps(rng: np.random.Generator, threshold: float) -> None:
    """Step i of a chunk makes the same choice in slot i, i calls later, in every layer."""
    sequential = make_config(mode=SEQUENTIAL, history="per_step", steps=3, sink_threshold=threshold)
    sequential, dit, clip, _ = draw(rng, sequential)
    batch = replace(sequential, mode=BATCH)
    clip = Clip(clip.latents + clip.latents[-2:], clip.noise_scale + clip.noise_scale[-2:], None, clip.seed, clip.text)
    batched, batched_rings = run_and_watch(dit, batch, clip)
    stepped, stepped_rings = run_and_watch(dit, sequential, clip)
    for chunk in range(1, CHUNKS):
        error = relative_l2(batched[chunk + 2][2], stepped[chunk][0])
        print(f"chunk {chunk}: relative L2 between the modes {error:.1e}")
        assert error <= 1e-6
        for step in range(3):
            for name, values in stepped_rings[chunk].items():
                assert np.array_equal(batched_rings[chunk + step][name][:, step], values[:, step]), name
    writes = np.array([ring["ring_write"] for ring in stepped_rings[5:CHUNKS]])  # [chunk, layer, step]
    print(f"{(writes < 3).mean():.0%} of the chunks went to a sink")
    assert (writes < 3).any()
    assert (writes != writes[:, :1, :1]).any(), "all layers and steps chose alike"
