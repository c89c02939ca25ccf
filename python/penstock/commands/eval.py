"""Measure a model that knows the procedural styles: every style against its known picture, drift, ablations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.commands.build import parse_size
from penstock.commands.config_options import add_config_arguments, config_fields
from penstock.commands.output import emit, say
from penstock.runtime.errors import PenstockError

if TYPE_CHECKING:
    import numpy as np

    from penstock.evaluation.quality import Clip
    from penstock.models import Model

HELP = "measure the quality of a model that knows the procedural styles"
_DRIFT_STYLE = "sepia film"
# Name of an ablation -> what it changes.
ABLATIONS: dict[str, dict[str, Any]] = {
    "as recommended": {},
    "1 step": {"steps": 1},
    "4 steps": {"steps": 4},
    "sequential": {"mode": "sequential"},
    "sequential, cache per step": {"mode": "sequential", "history": "per_step"},
    "no sinks": {"sink_frames": 0},
    "sinks never replaced": {"sink_threshold": -1.0},
    "no noise controller": {"noise_controller": False},
    "no refresh": {"refresh_frames": 1023},
    "cache policy streamdiffusionv2": {"cache_policy": "streamdiffusionv2"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="tiny", metavar="DIR", help="model directory (default: tiny, packaged)")
    parser.add_argument("--video", action="append", default=[], metavar="FILE", help="a clip to measure beside the "
                        "procedural ones; may be repeated")  # fmt: skip
    parser.add_argument("--clips", type=int, default=4, help="held-out procedural clips (default 4)")
    parser.add_argument("--frames", type=int, default=33, help="of every clip (default 33)")
    parser.add_argument("--chunks", type=int, default=500, help="of the long stream (default 500; 0: none)")
    parser.add_argument("--ablation-chunks", type=int, default=100, help="of each ablation's stream (default 100; 0: "
                        "none)")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder for quality.json, quality.md and "
                        "contact sheets")  # fmt: skip
    parser.add_argument("--threads", type=int, default=0, help="of the CPU backend (default: all cores)")
    add_config_arguments(parser.add_argument_group("denoising"))
    parser.set_defaults(size="128x128")


def run(options: argparse.Namespace) -> None:
    from penstock.evaluation.report import markdown
    from penstock.models import load

    for name, lowest in (("clips", 0), ("frames", 5), ("chunks", 0), ("ablation_chunks", 0)):
        if getattr(options, name) < lowest:
            option = f"--{name.replace('_', '-')}"
            raise PenstockError(f"{option}: expected {lowest} or more, got {getattr(options, name)}")
    if not options.clips and not options.video:
        raise PenstockError("--clips: expected 1 or more, or a --video, got 0")
    model, size = load(options.model), parse_size(options.size)
    fields = config_fields(options) | {"threads": options.threads}
    clips = _clips(options, size)
    result = {"model": model.name, "size": list(size), "settings": model.settings | config_fields(options)}
    measured, middles = _measure_styles(model, clips, options.frames, fields)
    result |= measured | _measure_streams(model, options, size, fields)
    text = markdown(result)
    if options.output is not None:
        _write(options.output, result, text, clips, middles)
    emit(result, options.json, text)


def _measure_styles(
    model: Model, clips: list[Clip], frames: int, fields: dict[str, Any]
) -> tuple[dict[str, Any], list[list[np.ndarray]]]:
    """The scores, the procedural clips together and each video for itself; per style the middle frame of each clip."""
    from penstock.evaluation.quality import score_styles, score_vae
    from penstock.evaluation.styles import STYLES

    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault("procedural" if clip.motion is not None else clip.name, []).append(clip)
    result: dict[str, Any] = {"styles": {}, "vae_psnr": {}}
    middles: list[list[np.ndarray]] = [[] for _ in STYLES]
    for name, group in groups.items():
        say(f"{name}: {len(group)} clips of {frames} frames")
        scores, pictures = score_styles(model, group, fields, say)
        result["vae_psnr"][name] = score_vae(model, group, fields)
        result["styles"][name] = [score.to_json() for score in scores]
        for row, added in zip(middles, pictures, strict=True):
            row += added
    return result, middles


def _measure_streams(
    model: Model, options: argparse.Namespace, size: tuple[int, int], fields: dict[str, Any]
) -> dict[str, Any]:
    from penstock.evaluation.quality import prompt_change, score_drift
    from penstock.evaluation.styles import STYLES, style

    result: dict[str, Any] = {
        "prompt_change_chunks": prompt_change(model, size, fields, style(_DRIFT_STYLE), STYLES[-1])
    }
    if options.chunks:
        drift = score_drift(model, style(_DRIFT_STYLE), options.chunks, size, fields)
        result["drift"] = {"style": _DRIFT_STYLE, **drift.to_json()}
        say(f"{drift.chunks} chunks: {drift.first:.2f} dB at first, {drift.last:.2f} dB at last")
    if options.ablation_chunks:
        result["ablations"] = _ablations(model, options.ablation_chunks, size, fields)
    return result


def _ablations(model: Model, chunks: int, size: tuple[int, int], fields: dict[str, Any]) -> list[dict[str, Any]]:
    """PSNR of two styles over one endless clip, and how the last 50 chunks compare with the first 50."""
    from penstock.evaluation.quality import score_drift
    from penstock.evaluation.styles import style

    rows = []
    for name, changes in ABLATIONS.items():
        drifts = [score_drift(model, style(entry), chunks, size, {**fields, **changes}, index=1)
                  for entry in (_DRIFT_STYLE, "watercolour")]  # fmt: skip
        first, last = (sum(getattr(drift, part) for drift in drifts) / len(drifts) for part in ("first", "last"))
        rows.append({"name": name, "chunks": chunks, "first": first, "last": last})
        say(f"{name}: {first:.2f} dB, at last {last:.2f} dB")
    return rows


def _clips(options: argparse.Namespace, size: tuple[int, int]) -> list[Clip]:
    import numpy as np

    from penstock.evaluation.quality import Clip
    from penstock.video import read_video

    clips = [Clip.procedural(index, options.frames, size) for index in range(options.clips)]
    for path in options.video:
        with read_video(path, size, "crop", limit=options.frames) as video:
            frames = np.stack(list(video))
        if len(frames) < options.frames:
            raise PenstockError(f"{path}: expected {options.frames} frames, got {len(frames)}")
        clips.append(Clip(Path(path).stem, frames))
    return clips


def _write(folder: Path, result: dict[str, Any], text: str, clips: list[Clip], middles: list[list[np.ndarray]]) -> None:
    import json

    from penstock.evaluation.report import write_sheet
    from penstock.runtime.errors import os_errors_as_penstock

    with os_errors_as_penstock(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "quality.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        (folder / "quality.md").write_text(text + "\n", encoding="utf-8")
    write_sheet(clips, middles, folder / "styles.png")
