"""The whole stream, frames in to frames out, with random weights of real shapes.

    python -m benchmarks.end_to_end [--model wan2.1-t2v-1.3b] [--device auto] [--seconds 480] [--quick]

One row per size, number of steps and decoder: frames a second, milliseconds of each phase, the time from the fifth
frame to the first output, the spread of the chunks' times, and memory. Rows go to
benchmarks/results/end_to_end_DEVICE.json as they are measured; configurations that the time is too short for are named.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from benchmarks.random_weights import random_weights
from benchmarks.record import record
from penstock.runtime.config import Config
from penstock.runtime.engine import Engine, Session
from penstock.runtime.model import PRESETS, ModelSpec, preset
from penstock.runtime.models.video_stream import stream_plan
from penstock.video.synthetic import generate_clip

# (size, steps, decoder), the most important first; published frames a second on one H100 (spec 7.3).
CONFIGURATIONS = [((h, w), steps, decoder) for decoder in ("wan", "taehv") for steps in (2, 4, 1)
                  for h, w in ((480, 832), (512, 512))]  # fmt: skip
PUBLISHED = {(480, 1): 20.47, (480, 2): 17.97, (480, 4): 13.95, (512, 1): 26.21, (512, 2): 24.02, (512, 4): 19.43}
WARM_CHUNKS, CHUNKS = 10, 30  # the cache is full, and then the measured ones
PROMPT_ROWS = 32


def measure(model: ModelSpec, config: Config, device: str, chunks: int) -> dict[str, Any]:
    start = time.perf_counter()
    plan = stream_plan(model, config)
    engine = Engine.create(plan, random_weights(plan), device)
    session = engine.session()
    rng = np.random.default_rng(0)
    session.set_prompt(rng.standard_normal((PROMPT_ROWS, model.dit.text_dim), dtype=np.float32))
    loaded = time.perf_counter()
    clip = np.stack(list(generate_clip(5 + 4 * 4, (config.height, config.width))))
    first = push(session, clip[:5])
    for chunk in range(WARM_CHUNKS):
        push(session, chunk_of(clip, chunk))
    before = phase_totals(session, config)
    times = [push(session, chunk_of(clip, chunk)) for chunk in range(chunks)]
    phases = {name: (total - before[name]) / chunks for name, total in phase_totals(session, config).items()}
    milliseconds = 1e3 * np.array(times)
    published = PUBLISHED.get((config.height, config.steps)) if config.decoder == "wan" else None
    fps = 4e3 / float(milliseconds.mean())
    return {
        "size": f"{config.height}x{config.width}", "steps": config.steps, "decoder": config.decoder, "fps": fps,
        "times_published": published and fps / published, "load_s": loaded - start, "first_frames_s": first,
        "chunk_ms": {f"p{q}": float(np.percentile(milliseconds, q)) for q in (50, 95, 99)}, "phase_ms": phases,
        "session_bytes": engine.session_memory_required(), "chunks": chunks,
        "graph_replays": session.stats()["graph_replays"],
    }  # fmt: skip


def chunk_of(clip: np.ndarray, chunk: int) -> np.ndarray:
    """Four frames that move: the clip after its first five, forth and back."""
    at = 5 + chunk % 4 * 4
    return clip[at : at + 4] if chunk // 4 % 2 else clip[at : at + 4][::-1]


def push(session: Session, frames: np.ndarray) -> float:
    """Seconds from frames in to frames out on the host."""
    start = time.perf_counter()
    session.push(np.ascontiguousarray(frames))
    session.pull()
    return time.perf_counter() - start


def phase_totals(session: Session, config: Config) -> dict[str, float]:
    return {name: session.phase_stats(name)["total_ms"] for name in ("encode", "denoise", "decode")}


def table_line(row: dict[str, Any]) -> str:
    phases = " + ".join(f"{ms:.1f}" for ms in row["phase_ms"].values())
    published = f"{row['times_published']:.2f} x published" if row["times_published"] else ""
    return (
        f"{row['size']:>8} {row['steps']} steps {row['decoder']:<5} {row['fps']:7.2f} FPS = {phases} ms, "
        f"p99 - p50 {row['chunk_ms']['p99'] - row['chunk_ms']['p50']:.1f} ms, first {row['first_frames_s']:.2f} s, "
        f"load {row['load_s']:.1f} s, {row['session_bytes'] / 2**30:.1f} GiB  {published}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The whole stream with random weights.")
    parser.add_argument("--model", choices=PRESETS, default="wan2.1-t2v-1.3b")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seconds", type=float, default=480, help="no new configuration after so much time")
    parser.add_argument("--quick", action="store_true", help="two small configurations with few chunks")
    options = parser.parse_args()
    configurations = [((64, 96), 2, "wan"), ((64, 96), 1, "taehv")] if options.quick else CONFIGURATIONS
    start, rows, skipped = time.perf_counter(), [], []
    for (height, width), steps, decoder in configurations:
        if time.perf_counter() - start > options.seconds:
            skipped.append(f"{height}x{width} {steps} {decoder}")
            continue
        config = Config(height, width, steps=steps, decoder=decoder)
        rows.append(measure(preset(options.model), config, options.device, 3 if options.quick else CHUNKS))
        print(table_line(rows[-1]), flush=True)
        if not options.quick:
            record(f"end_to_end_{options.device}", rows)
    if skipped:
        print(f"not measured, for lack of time: {', '.join(skipped)}")


if __name__ == "__main__":
    main()
