"""The whole denoise phase of the tiny preset on the CPU backend against eager torch on the same cores.

Both do one steady-state chunk: two slots of 480x832 (3120 tokens over 9360 cached ones each), float32. The two are
measured in alternating rounds of one process, since a machine's speed drifts by more than they differ.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from eager_dit import EagerDit

from penstock.runtime.build import create_engine
from penstock.runtime.config import Config
from penstock.runtime.model import load_model
from penstock.runtime.synth import synth

ROUNDS = 9


@pytest.mark.parametrize("size", [(480, 832), (256, 256)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_tiny_denoise(benchmark, tmp_path: Path, size: tuple[int, int]) -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = Config(*size, steps=2, sink_threshold=-1.0)  # eager torch has no adaptive sinks
    synth("tiny", tmp_path)
    model = load_model(tmp_path)
    session = create_engine(model, config, device="cpu").session()
    prompt = np.random.default_rng(0).standard_normal((model.spec.dit.text_len, model.spec.dit.text_dim))
    session.set_prompt(prompt)
    with model.open_weights() as weights:
        eager = EagerDit(model.spec.dit, config, weights, torch.from_numpy(prompt).float())
    latents = torch.randn(config.slots, 16, config.latent_height, config.latent_width)
    timestep = torch.tensor([float(t) for t in config.schedule])
    session.write("latents", latents[:1].numpy())
    session.run("denoise_first")
    for _ in range(config.cache_frames):  # fill the rolling cache
        session.run("denoise")
    eager.forward(latents, timestep, write=3)

    eager_seconds = []

    def eager_round() -> tuple[tuple, dict]:
        start = time.perf_counter()
        eager.forward(latents, timestep, write=3)
        eager_seconds.append(time.perf_counter() - start)
        return (), {}

    benchmark.pedantic(lambda: session.run("denoise"), setup=eager_round, rounds=ROUNDS)
    ours, yardstick = 1e3 * benchmark.stats["median"], 1e3 * statistics.median(eager_seconds)
    benchmark.extra_info.update(eager_torch_ms=yardstick, times_eager_torch=yardstick / ours)
    tokens, cached = config.slots * config.frame_tokens, config.cache_frames * config.frame_tokens
    print(f"\n{size[0]}x{size[1]}, {tokens} tokens over {cached} cached: {ours:.1f} ms, "
          f"eager torch {yardstick:.1f} ms, {yardstick / ours:.2f} x as fast")  # fmt: skip


def test_eager_torch_computes_the_same(tmp_path: Path) -> None:
    """The yardstick does the same work: its flow equals the engine's (not a speed measurement)."""
    config = Config(height=64, width=96, steps=1, sink_threshold=-1.0)
    synth("tiny", tmp_path, dtype="fp32")
    model = load_model(tmp_path)
    session = create_engine(model, config, device="cpu").session()
    rng = np.random.default_rng(1)
    prompt = rng.standard_normal((model.spec.dit.text_len, model.spec.dit.text_dim)).astype(np.float32)
    session.set_prompt(prompt)
    with model.open_weights() as weights:
        eager = EagerDit(model.spec.dit, config, weights, torch.from_numpy(prompt))
    session.write("noise_scale", [0.0])
    session.write("latents_first", rng.standard_normal((2, 16, 8, 12)))
    session.run("denoise_first")
    for _ in range(6):
        session.write("latents", latents := rng.standard_normal((1, 16, 8, 12)).astype(np.float32))
        session.run("denoise")
    write, position = int(session.read("ring_write")[0, 0]), int(session.read("frame_position")[0])
    for i in range(model.spec.dit.layers):
        eager.k_cache[i][:] = torch.from_numpy(session.read(f"blocks.{i}.k_cache"))
        eager.v_cache[i][:] = torch.from_numpy(session.read(f"blocks.{i}.v_cache"))
    eager.rotation = eager.rotation_of(position)
    flow = eager.forward(torch.from_numpy(latents), torch.tensor([700.0]), write).numpy()
    ours = session.read("flow")[0]
    assert np.linalg.norm(ours - flow) / np.linalg.norm(flow) < 1e-5
