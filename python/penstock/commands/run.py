"""Turn a video into another one by a prompt, chunk by chunk; without an input video, make one from the prompt alone."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.commands.build import parse_size
from penstock.commands.config_options import add_config_arguments, config_fields
from penstock.commands.output import FrameBar, bytes_text, emit, say
from penstock.runtime.config import SCHEDULES
from penstock.runtime.errors import PenstockError, os_errors_as_penstock

if TYPE_CHECKING:
    from fractions import Fraction

    from penstock.run_video import RunReport
    from penstock.runtime.config import Config
    from penstock.session import Session
    from penstock.video import VideoInfo, VideoReader, VideoWriter

HELP = "turn a video into another one by a prompt"
DEFAULT_FRAMES = 81  # of text-to-video: 5 seconds
DEFAULT_FPS = 16  # of the Wan models
_SAME_RATE = 1e-3  # frames a second
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXAMPLES = """examples:
  penstock run in.mp4 --prompt "a watercolour" -o out.mp4 --model wan-1.3b
  penstock run frames/ --prompt "a watercolour" -o out/ --fps 24 --size 240x416 --fit crop
  penstock run --prompt "waves at night" -o waves.mp4 --frames 49
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "penstock run [INPUT] --prompt TEXT -o OUTPUT [--model DIR] [--size HxW] [more options]"
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    parser.add_argument("input", nargs="?", metavar="INPUT", help="video file, folder of pictures, .rgb or .raw file, "
                        "or - for rgb24 frames on standard input; none for text-to-video")  # fmt: skip
    parser.add_argument("-o", "--output", required=True, help=".mp4, .m4v, .mov, .mkv (H.264), .rgb or .raw file, new "
                        "or empty folder for pictures, or - for rgb24 frames on standard output")  # fmt: skip
    parser.add_argument(
        "--prompt", required=True, metavar="TEXT", help="what the video shall become, or a prompt.safetensors file"
    )
    parser.add_argument("--model", default="tiny", metavar="DIR", help="model directory (default: tiny, packaged)")
    parser.add_argument("--seed", type=int, default=0, help="key of all noise (default 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU backend (default: all cores)")
    parser.add_argument("--schedule", choices=SCHEDULES, default=SCHEDULES[0], help="throughput: frames come two "
                        "chunks later, at a higher rate; the same ones")  # fmt: skip
    _add_video_arguments(parser.add_argument_group("video"))
    add_config_arguments(parser.add_argument_group("denoising"))


def _add_video_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--fit", choices=("crop", "letterbox", "stretch"), help="how frames of another shape get to "
                       "the size, which is then rounded to multiples of 16 (default: stretch)")  # fmt: skip
    group.add_argument("--frames", type=int, metavar="N", help="read at most N frames; make N in text-to-video "
                       f"(default {DEFAULT_FRAMES})")  # fmt: skip
    group.add_argument("--fps", type=float, help="rate of pictures and raw frames, and of text-to-video (default "
                       f"{DEFAULT_FPS}); a video file keeps its own")  # fmt: skip
    group.add_argument("--raw-size", metavar="HxW", help="size of raw input frames, if it is not --size")
    group.add_argument("--no-audio", action="store_true", help="leave the sound of the input out")


def run(options: argparse.Namespace) -> None:
    config = _config(options)
    if options.frames is not None and options.frames < 1:
        raise PenstockError(f"--frames: expected 1 or more, got {options.frames}")
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning
        if options.input is None:
            _make_video(options, config)
        else:
            _turn_video(options, config)


def _config(options: argparse.Namespace, recommended: Mapping[str, Any] | None = None) -> Config:
    """What was asked for; ``recommended`` are the fields of Config that the model brings, once it is loaded."""
    from penstock.runtime.config import Config
    from penstock.video import fit_size

    if options.decoder == "none":
        raise PenstockError("--decoder: expected wan or taehv, which make frames, got none")
    height, width = parse_size(options.size)
    fitted = fit_size(height, width)
    if fitted != (height, width) and options.fit is None:
        sizes = f"{height}x{width} (--fit crop, letterbox or stretch would use {fitted[0]}x{fitted[1]})"
        raise PenstockError(f"--size: expected multiples of 16, got {sizes}")
    fields = config_fields(options) | {"height": fitted[0], "width": fitted[1]}
    return Config.text_to_video(**fields) if options.input is None else Config(**(recommended or {}) | fields)


def _turn_video(options: argparse.Namespace, config: Config) -> None:
    from penstock.run_video import run_video

    with _open_input(options, config) as reader, _open_output(options, config, reader.info) as writer:
        session, load_seconds = _open_session(options)
        with session, FrameBar(reader.info.frame_count) as bar:
            report = run_video(session, reader, writer, bar.update)
        if not report.frames_in:
            raise PenstockError(f"{options.input}: expected at least one frame, got none")
    _report(options, session.config, reader.info, report, load_seconds)


def _make_video(options: argparse.Namespace, config: Config) -> None:
    from penstock.run_video import generate_video

    frames = DEFAULT_FRAMES if options.frames is None else options.frames
    with _open_output(options, config, None) as writer:
        session, load_seconds = _open_session(options)
        with session, FrameBar(frames) as bar:
            report = generate_video(session, frames, writer, bar.update)
    _report(options, session.config, None, report, load_seconds)


def _open_input(options: argparse.Namespace, config: Config) -> VideoReader:
    from penstock.video import read_video

    if os.path.exists(options.input) and os.path.exists(options.output):
        with os_errors_as_penstock(options.output, "write"):
            if os.path.samefile(options.input, options.output):
                raise PenstockError(f"{options.output}: expected another place than that of the input, got the same")
    raw_size = parse_size(options.size) if options.raw_size is None else parse_size(options.raw_size, "--raw-size")
    fit, size = options.fit or "stretch", (config.height, config.width)
    reader = read_video(options.input, size, fit, 0, options.frames, options.fps, raw_size)
    if options.fps is not None and abs(reader.info.fps - options.fps) > _SAME_RATE:
        reader.close()
        raise PenstockError(f"--fps: expected none for a video file, which has its own rate, got {options.fps:g}")
    return reader


def _takes_audio(options: argparse.Namespace, info: VideoInfo | None) -> bool:
    from penstock.video.h264 import FORMATS

    suffix = Path(options.output).suffix.lower()
    return info is not None and info.has_audio and not options.no_audio and suffix in FORMATS


def _frame_rate(options: argparse.Namespace, info: VideoInfo | None) -> Fraction | float:
    if info is not None:
        return info.fps
    return DEFAULT_FPS if options.fps is None else options.fps


@contextmanager
def _open_output(options: argparse.Namespace, config: Config, info: VideoInfo | None) -> Iterator[VideoWriter]:
    """The writer of the output. It is opened before the model: a bad path shall not cost the time to load one.

    Ctrl-C or a request to terminate completes the file too, and then goes on with a line of what is in it.
    """
    from penstock.video import VideoWriter

    audio = options.input if _takes_audio(options, info) else None
    fps = _frame_rate(options, info)
    writer = VideoWriter(options.output, fps, (config.height, config.width), audio_from=audio)
    try:
        with _completed(writer):
            yield writer
    except KeyboardInterrupt:
        count = writer.frames_written
        written = f"{count} frames, {float(count / fps):.1f} s of video, are written" if count else "nothing is written"
        raise KeyboardInterrupt(f"{options.output}: {written}") from None


@contextmanager
def _completed(writer: VideoWriter) -> Iterator[None]:
    """`with writer`, which SIGINT and SIGTERM end; but none of them, not even a second one, cuts the completing of the
    file short: all would be lost."""
    if threading.current_thread() is not threading.main_thread():  # only there signals can come and be set
        with writer:
            yield
        return
    handlers = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            stack.enter_context(writer)
            for number in _STOP_SIGNALS:
                stack.callback(signal.signal, number, signal.SIG_IGN)  # called before the writer closes
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _open_session(options: argparse.Namespace) -> tuple[Session, float]:
    from penstock.models import load
    from penstock.runtime.prompt import read_prompt

    start = time.perf_counter()
    prompt: Any = options.prompt
    if prompt.endswith(".safetensors"):
        prompt = read_prompt(prompt)
    model = load(options.model)
    config = _config(options, model.settings)
    session = model.session(prompt, config=config, device=options.device, threads=options.threads, seed=options.seed,
                            schedule=options.schedule)  # fmt: skip
    return session, time.perf_counter() - start


def _say_warning(message: Warning | str, *_: Any) -> None:
    say(f"penstock: warning: {message}")


def _report(options: argparse.Namespace, config: Config, info: VideoInfo | None, report: RunReport,
            load_seconds: float) -> None:  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {
        "input": options.input, "output": options.output, "model": options.model,
        "size": [config.height, config.width], "frame_rate": round(float(_frame_rate(options, info)), 6),
        "audio": _takes_audio(options, info), "steps": config.steps, "mode": config.mode, "decoder": config.decoder,
        "seed": options.seed, "load_seconds": round(load_seconds, 3), **report.to_json(), "host_peak_bytes": peak,
    }  # fmt: skip
    phases = ", ".join(f"{name} {phase['mean_ms']:.0f}" for name, phase in report.phases.items())
    latency = result.get("latency_ms")
    lines = [
        f"{options.output}: {report.frames_out} frames of {config.height}x{config.width} in {report.seconds:.1f} s, "
        f"{report.fps:.2f} frames/s (loading took {load_seconds:.1f} s, peak memory {bytes_text(peak)})",
        f"ms per phase: {phases}"
        + (f"; latency {latency['mean']:.0f} ms, 95% {latency['p95']:.0f} ms" if latency else ""),
    ]
    to_stderr = options.output == "-"  # standard output has the frames
    emit(result, options.json, "\n".join(lines), sys.stderr if to_stderr else sys.stdout)
