"""Turn a video into another one by a prompt, chunk by chunk; without an input video, make one from the prompt alone."""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.commands.build import parse_size
from penstock.commands.config_options import add_config_arguments, config_fields
from penstock.commands.output import FrameBar, bytes_text, emit
from penstock.runtime.errors import PenstockError

if TYPE_CHECKING:
    from penstock.run_video import RunReport
    from penstock.runtime.config import Config
    from penstock.session import Session
    from penstock.video import VideoReader

HELP = "turn a video into another one by a prompt"
DEFAULT_FRAMES = 81  # of text-to-video: 5 seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", nargs="?", help="video file, folder of pictures, .rgb or .raw file, or - for standard "
                        "input; none for text-to-video")  # fmt: skip
    parser.add_argument("-o", "--output", required=True, help=".mp4, .mov or .mkv file, .rgb file, folder of pictures")
    parser.add_argument("--prompt", required=True, help="what the video shall become, or a prompt.safetensors file")
    parser.add_argument(
        "--model", default="tiny", metavar="DIR", help="model directory (default: tiny, random weights)"
    )
    parser.add_argument("--fit", choices=("crop", "letterbox", "stretch"), help="how frames of another shape get to "
                        "the size, which is then rounded to multiples of 16 (default: stretch)")  # fmt: skip
    parser.add_argument("--frames", type=int, metavar="N", help="read at most N frames; make N in text-to-video "
                        f"(default {DEFAULT_FRAMES})")  # fmt: skip
    parser.add_argument("--fps", type=float, help="rate of pictures and raw frames, and of text-to-video (default 16)")
    parser.add_argument("--raw-size", metavar="HxW", help="size of raw input frames, if it is not --size")
    parser.add_argument("--no-audio", action="store_true", help="leave the sound of the input out")
    parser.add_argument("--seed", type=int, default=0, help="key of all noise (default 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU backend (default: all cores)")
    add_config_arguments(parser)


def run(options: argparse.Namespace) -> None:
    config = _config(options)
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning
        if options.input is None:
            _make_video(options, config)
        else:
            _turn_video(options, config)


def _config(options: argparse.Namespace) -> Config:
    from penstock.runtime.config import Config
    from penstock.video import fit_size

    height, width = parse_size(options.size)
    fitted = fit_size(height, width)
    if fitted != (height, width):
        sizes = f"{height}x{width}, --fit crop or letterbox would use {fitted[0]}x{fitted[1]}"
        if options.fit is None:
            raise PenstockError(f"--size: expected multiples of 16, got {sizes}")
    fields = config_fields(options) | {"height": fitted[0], "width": fitted[1]}
    return Config.text_to_video(**fields) if options.input is None else Config(**fields)


def _turn_video(options: argparse.Namespace, config: Config) -> None:
    from penstock.run_video import run_video
    from penstock.video import VideoWriter, read_video

    raw_size = None if options.raw_size is None else parse_size(options.raw_size)
    size = (config.height, config.width)
    with read_video(options.input, size, options.fit or "stretch", 0, options.frames, options.fps, raw_size) as reader:
        audio = options.input if reader.info.has_audio and not options.no_audio else None
        if audio and Path(options.output).suffix.lower() not in (".mp4", ".m4v", ".mov", ".mkv"):
            audio = None
        session, load_seconds = _open_session(options, config)
        with (
            session,
            VideoWriter(options.output, reader.info.fps, size, audio_from=audio) as writer,
            FrameBar(reader.info.frame_count) as bar,
        ):
            report = run_video(session, reader, writer, bar.update)
        _report(options, config, session, report, load_seconds, reader)


def _make_video(options: argparse.Namespace, config: Config) -> None:
    from penstock.run_video import generate_video
    from penstock.video import VideoWriter

    frames = DEFAULT_FRAMES if options.frames is None else options.frames
    session, load_seconds = _open_session(options, config)
    with (
        session,
        VideoWriter(options.output, options.fps or 16, (config.height, config.width)) as writer,
        FrameBar(frames) as bar,
    ):
        report = generate_video(session, frames, writer, bar.update)
    _report(options, config, session, report, load_seconds, None)


def _open_session(options: argparse.Namespace, config: Config) -> tuple[Session, float]:
    from penstock.models import load
    from penstock.runtime.prompt import read_prompt

    start = time.perf_counter()
    prompt: Any = options.prompt
    if prompt.endswith(".safetensors"):
        prompt = read_prompt(prompt)
    model = load(options.model)
    session = model.session(prompt, config=config, device=options.device, threads=options.threads, seed=options.seed)
    return session, time.perf_counter() - start


def _say_warning(message: Warning | str, *_: Any) -> None:
    print(f"penstock: warning: {message}", file=sys.stderr)


def _report(options: argparse.Namespace, config: Config, session: Session, report: RunReport, load_seconds: float,
            reader: VideoReader | None) -> None:  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {
        "input": options.input, "output": options.output, "model": str(options.model),
        "size": [config.height, config.width],
        "steps": config.steps, "mode": config.mode, "decoder": config.decoder, "seed": options.seed,
        "audio": bool(reader and reader.info.has_audio and not options.no_audio),
        "load_seconds": round(load_seconds, 3), **report.to_json(), "host_peak_bytes": peak,
    }  # fmt: skip
    phases = ", ".join(f"{name} {phase['mean_ms']:.0f}" for name, phase in report.phases.items())
    latency = result.get("latency_ms")
    lines = [
        f"{options.output}: {report.frames_out} frames of {config.height}x{config.width} in {report.seconds:.1f} s, "
        f"{report.fps:.2f} frames/s (loading took {load_seconds:.1f} s, peak memory {bytes_text(peak)})",
        f"ms per phase: {phases}"
        + (f"; latency {latency['mean']:.0f} ms, 95% {latency['p95']:.0f} ms" if latency else ""),
    ]
    emit(result, options.json, "\n".join(lines))
