"""The whole stream, frames in to frames out, with random weights of real shapes.

Streams are named MODEL-HEIGHTxWIDTH-STEPS, then what is not the default: the mode (``sequential``, ``per_step``), the
autoencoders (``taehv``: the decoder, or ``taehv_both``), the cache (``published``), the precision (``fp8_attention``,
``fp8_vae``), the schedule (``throughput``, where frames out are those of two chunks before); or ``t2v``, text-to-video.
A row's metrics:

    fps                  finished frames a second in steady state, host to host
    encode_ms, ...       of each phase, as the device timed it
    chunk_p50_ms, ...    from frames in to frames out on the host: median, 95th and 99th percentile
    jitter_ms            p99 - p50
    load_s               plan, weights (random ones, made here), engine, session and prompt
    first_frames_s       from the fifth frame to the first frame out, right after that
    cold_start_s         if asked for: from the start of a process to its first frame out, see cold_start.py
    memory_bytes         of the device, or resident on the CPU, that the stream takes: all of it lives until the end

``floor_ms`` has the floor of each phase.
"""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from penstock.runtime.config import PRECISIONS, Config
from penstock.runtime.engine import Engine, Session
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import preset
from penstock.runtime.models.video_stream import stream_plan
from penstock.runtime.plan import Plan
from penstock.runtime.prompt import Prompt
from penstock.runtime.vae_spec import FRAMES_PER_LATENT
from penstock.video.synthetic import generate_clip

from .cold_start import measure_cold_start
from .cost import COMPUTE_BYTES, Peaks, phase_costs
from .libraries import torch, why_missing
from .peaks import MeasuredPeaks
from .random_weights import random_weights
from .results import Results, run_set
from .run_ops import Skipped
from .shapes import MODELS, SIZES, SLOTS, TINY_SIZES
from .timing import Measure
from .variants import Target

PROMPT_ROWS = 32
_WARM = {"cpu": 5, "cuda": 10}  # chunks until the rolling cache is full and clocks are up
_CHUNKS = {"cpu": 10, "cuda": 40}
_BLOCKS = 10  # of chunks, whose frame rates show the noise of the whole
_MODES = {"": {}, "-sequential": {"mode": "sequential"}, "-per_step": {"mode": "sequential", "history": "per_step"}}
_CODERS = {"": {}, "-taehv": {"decoder": "taehv"},
           "-taehv_both": {"encoder": "taehv", "decoder": "taehv", "latent_norm": "normalized"}}  # fmt: skip
_CACHES = {"": {}, "-published": {"cache_policy": "streamdiffusionv2"}}
_PRECISIONS = {"": {}} | {f"-{name}": {"precision": name} for name in PRECISIONS}
_SCHEDULES = {"": "latency", "-throughput": "throughput"}

# The most important first: the time may not be enough for all.
STANDARD = {
    "cuda": ("1.3b-480x832-2", "1.3b-480x832-2-taehv", "1.3b-512x512-2", "1.3b-480x832-4", "14b-480x832-2",
             "1.3b-480x832-2-throughput", "1.3b-480x832-2-fp8_attention", "1.3b-480x832-2-fp8_vae", "1.3b-480x832-1",
             "1.3b-512x512-4", "1.3b-480x832-2-sequential", "1.3b-480x832-2-taehv_both", "1.3b-512x512-1",
             "1.3b-480x832-2-published", "14b-480x832-4", "1.3b-720x1280-2", "1.3b-480x832-4-t2v"),
    "cpu": ("tiny-64x96-2", "tiny-64x96-2-taehv", "tiny-64x96-2-sequential", "tiny-64x96-4-t2v"),
}  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """A named stream: a model and a configuration."""

    name: str
    model: str
    config: Config
    schedule: str = "latency"

    @property
    def phases(self) -> list[str]:
        """Those that every chunk runs."""
        return [phase for phase in self.config.phases if phase in ("encode", "denoise", "decode")]


def _streams() -> dict[str, Stream]:
    found = {}
    for model, name in MODELS.items():
        for (height, width), steps in product(TINY_SIZES if model == "tiny" else SIZES, SLOTS):
            base = f"{model}-{height}x{width}-{steps}"
            for *parts, (end, schedule) in product(
                _MODES.items(), _CODERS.items(), _CACHES.items(), _PRECISIONS.items(), _SCHEDULES.items()
            ):
                full = base + "".join(part for part, _ in parts) + end
                if "-taehv_both" in full and "-fp8_vae" in full:
                    continue  # no Wan VAE there
                fields: dict[str, Any] = {key: value for _, settings in parts for key, value in settings.items()}
                found[full] = Stream(full, name, Config(height, width, steps=steps, **fields), schedule)
            config = Config.text_to_video(height=height, width=width, steps=steps)
            found[f"{base}-t2v"] = Stream(f"{base}-t2v", name, config)
    return found


STREAMS = _streams()


def find_stream(name: str) -> Stream:
    """The stream of that name; PenstockError that says how names are made where there is none."""
    if name not in STREAMS:
        suffixes = (
            "[-sequential|-per_step][-taehv|-taehv_both][-published][-fp8_attention|-fp8_vae][-throughput], or -t2v"
        )
        known = ", ".join(dict.fromkeys(stream.rsplit("-", 1)[0] for stream in STREAMS if stream.count("-") == 2))
        raise PenstockError(f"shape: expected one of {known}, then -STEPS (1 to 4){suffixes}; got {name!r:.80}")
    return STREAMS[name]


def measure_streams(
    target: Target, names: Sequence[str], passes: int, seconds: float | None, notes: Sequence[str],
    tell: Callable[[str], None] = lambda line: None, cold_starts: Sequence[str] = (),
) -> Results:  # fmt: skip
    """Every stream, in order, those of ``cold_starts`` with theirs; after ``seconds`` of a pass no new one is begun,
    and those left are named."""
    streams = [find_stream(name) for name in names or STANDARD[target.device]]
    for name in cold_starts:
        if find_stream(name) not in streams:
            raise PenstockError(f"--cold-start: expected streams that are measured, got {name}")

    def one_pass(peaks: MeasuredPeaks) -> tuple[list[dict[str, Any]], dict[str, str]]:
        begin, rows, skipped = time.perf_counter(), [], Skipped()
        with skipped.rest_if_interrupted():
            for stream in streams:
                if seconds is not None and time.perf_counter() - begin > seconds:
                    skipped.add(stream.name, f"no time left of {seconds:.0f} s")
                    continue
                tell(stream.name)
                try:
                    row = measure_stream(stream, target, peaks.for_floors)
                    rows.append(row)
                    if stream.name in cold_starts:
                        gc.collect()
                        row["metrics"]["cold_start_s"] = _once(cold_start(stream, target)).to_json()
                except PenstockError as error:  # too large for this device, say
                    skipped.add(stream.name, str(error).splitlines()[0])
                gc.collect()
        return rows, skipped.reasons

    return run_set("end_to_end", target, passes, one_pass, notes)


def measure_stream(stream: Stream, target: Target, peaks: Peaks) -> dict[str, Any]:
    """One row, in one pass."""
    config = stream.config
    used_before = _memory_used(target)
    start = time.perf_counter()
    plan = stream_plan(preset(stream.model), config)
    if target.is_cuda:
        os.environ.setdefault("PENSTOCK_IMPL", "gemm=measured")  # as an engine directory would have it
    engine = Engine.create(plan, random_weights(plan), target.device, target.threads, schedule=stream.schedule)
    session = engine.session()
    session.set_prompt(_prompt(stream))
    loaded = time.perf_counter()
    feed = _feed(stream, session)
    first, finished = next(feed)
    while not finished:
        seconds, finished = next(feed)
        first += seconds
    for _ in range(_WARM[target.device]):
        next(feed)
    chunks: list[float] = []
    phases: dict[str, list[float]] = {phase: [] for phase in stream.phases}
    for _ in range(_CHUNKS[target.device]):
        chunks.append(next(feed)[0])
        for phase, times in phases.items():
            times.append(session.phase_stats(phase)["last_ms"])
    memory = _memory_used(target) - used_before
    metrics = {
        **_chunk_metrics(chunks, FRAMES_PER_LATENT * config.chunk_latents),
        **{f"{phase}_ms": Measure.of(times) for phase, times in phases.items()},
        "load_s": _once(loaded - start), "first_frames_s": _once(first), "memory_bytes": _once(memory),
    }  # fmt: skip
    return {
        "id": stream.name, "kind": "stream", "model": stream.model, "size": f"{config.height}x{config.width}",
        "steps": config.steps, "mode": config.mode, "encoder": config.encoder, "decoder": config.decoder,
        "cache_policy": config.cache_policy, "precision": list(config.precision), "schedule": stream.schedule,
        "chunks": len(chunks), "prompt_rows": PROMPT_ROWS,
        "graph_replays": session.stats()["graph_replays"], "session_bytes": engine.session_memory_required(),
        "floor_ms": phase_floors(plan, stream.phases, target.device, peaks),
        "metrics": {name: measure.to_json() for name, measure in metrics.items()},
    }  # fmt: skip


def cold_start(stream: Stream, target: Target) -> float:
    """Seconds from an engine directory of the stream to its first frame out; see cold_start.py."""
    plan = stream_plan(preset(stream.model), stream.config)
    prompt = Prompt(_prompt(stream), "random", "none", PROMPT_ROWS)
    return measure_cold_start(plan, random_weights(plan), prompt, target.device, target.threads, stream.schedule)


def _prompt(stream: Stream) -> np.ndarray:
    rows = PROMPT_ROWS, preset(stream.model).dit.text_dim
    return np.random.default_rng(0).standard_normal(rows, dtype=np.float32)


def phase_floors(plan: Plan, phases: Sequence[str], device: str, peaks: Peaks) -> dict[str, float]:
    """Milliseconds that nothing can beat, of each phase: the sum over its ops."""
    floors = {}
    for phase in phases:
        costs = phase_costs(plan, phase, COMPUTE_BYTES[device], PROMPT_ROWS)
        floors[phase] = 1e3 * sum(peaks.floor_seconds(cost) for cost in costs)
    return floors


def _feed(stream: Stream, session: Session) -> Iterator[tuple[float, int]]:
    """Runs chunk after chunk, for ever; yields the seconds from frames in to frames out on the host, and how many."""
    config = stream.config
    if config.source == "noise":
        while True:
            yield _seconds(lambda: session.generate(1), session)
    step = FRAMES_PER_LATENT * config.chunk_latents
    first = FRAMES_PER_LATENT * config.first_latents - (FRAMES_PER_LATENT - 1)
    clip = np.stack(list(generate_clip(first + 4 * step, (config.height, config.width))))
    yield _seconds(lambda: session.push(clip[:first]), session)
    chunk = 0
    while True:  # the clip after its first frames, forth and back
        at = first + chunk % 4 * step
        frames = np.ascontiguousarray(clip[at : at + step][:: 1 if chunk // 4 % 2 == 0 else -1])
        yield _seconds(lambda frames=frames: session.push(frames), session)
        chunk += 1


def _seconds(run: Callable[[], None], session: Session) -> tuple[float, int]:
    start = time.perf_counter()
    run()
    finished = len(session.pull())
    return time.perf_counter() - start, finished


def _chunk_metrics(seconds: Sequence[float], frames: int) -> dict[str, Measure]:
    milliseconds = [1e3 * value for value in seconds]
    rates = [frames * len(block) / sum(block) for block in np.array_split(seconds, min(_BLOCKS, len(seconds)))]
    blocks = Measure.of(rates)
    fps = Measure(frames * len(seconds) / sum(seconds), blocks.low, blocks.high, len(seconds))
    p50, p95, p99 = (Measure.of(milliseconds, share) for share in (0.5, 0.95, 0.99))
    jitter = Measure(p99.value - p50.value, max(p99.low - p50.high, 0.0), p99.high - p50.low, len(seconds))
    return {"fps": fps, "chunk_p50_ms": p50, "chunk_p95_ms": p95, "chunk_p99_ms": p99, "jitter_ms": jitter}


def _once(value: float) -> Measure:
    """A measure of one sample, whose noise only more passes show."""
    return Measure(value, value, value, 1)


def _memory_used(target: Target) -> int:
    """Bytes in use on the device, by whomever, 0 where there is no torch to ask; on the CPU, by this process."""
    if target.is_cuda:
        free, total = torch.cuda.mem_get_info() if why_missing("torch", "cuda") is None else (0, 0)
        return total - free
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return resident_pages * resource.getpagesize()
