"""Streams chunks of noise-like latents through the tiny model on the CPU: the whole path from weights to latents."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.engine import Engine
from penstock.runtime.synth import synth

CHUNKS = 12


def main() -> None:
    config = Config(height=240, width=416, steps=2)
    with tempfile.TemporaryDirectory() as folder:
        report = synth("tiny", Path(folder) / "model")
        print(f"model    tiny, {report.total.parameters:,} random parameters")
        built = build(Path(folder) / "model", Path(folder) / "engine", config)
        print(f"plan     {built.plan.name}: {', '.join(f'{p} {len(o)} ops' for p, o in built.plan.phases.items())}")
        engine = Engine.open(Path(folder) / "engine", device="cpu")
    session = engine.session()
    print(f"session  {engine.session_memory_required() / 2**20:.0f} MiB of state and scratch")

    rng = np.random.default_rng(0)
    session.set_prompt(rng.standard_normal((20, engine.tensor_info("prompt_embeddings").shape[1])))
    session.write("latents_first", rng.standard_normal(engine.tensor_info("latents_first").shape))
    session.run("denoise_first")
    start = time.perf_counter()
    for _ in range(CHUNKS):
        session.write("latents", rng.standard_normal(engine.tensor_info("latents").shape))
        session.run("denoise")
    seconds = (time.perf_counter() - start) / CHUNKS
    x0 = session.read("x0")[-1]
    print(f"stream   {CHUNKS} chunks of {config.height}x{config.width}, {1e3 * seconds:.0f} ms each")
    print(f"output   x0 {list(x0.shape)}, mean {x0.mean():+.3f}, deviation {x0.std():.3f}")
    print("next     penstock convert your-weights.pt model && penstock build model engine (see README.md)")


if __name__ == "__main__":
    main()
