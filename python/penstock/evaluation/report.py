"""The measurements as tables, and the contact sheet: every style's output over its known picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from penstock.video import contact_sheet

from .quality import Clip, styled
from .styles import STYLES

_STYLE_HEADS = ("style", "PSNR dB", "SSIM", "nearest", "warp error", "of the known picture")


def markdown(result: dict[str, Any]) -> str:
    """Everything that `penstock eval` measured, as Markdown."""
    lines = [f"{result['model']} at {'x'.join(map(str, result['size']))}, settings {result['settings']}"]
    for name, scores in result["styles"].items():
        lines += [
            "",
            f"{name}: {scores[0]['frames']} frames a style; the VAE alone {result['vae_psnr'][name]:.2f} dB",
            "",
        ]
        lines += _table(_STYLE_HEADS, [_style_row(score) for score in scores])
    chunks = result["prompt_change_chunks"]
    taken = "never took effect" if chunks is None else f"shows {chunks} chunks later"
    lines += ["", f"A prompt that is changed in mid-stream {taken} in all frames from there on."]
    if drift := result.get("drift"):
        course = ", ".join(f"{value:.2f}" for value in drift["course"])
        lines += ["", f"A stream of {drift['chunks']} chunks ({drift['style']}), mean PSNR of every 50: {course} dB."]
    if ablations := result.get("ablations"):
        rows = [(row["name"], f"{row['first']:.2f}", f"{row['last']:.2f}") for row in ablations]
        lines += ["", *_table(("ablation", "first 50 chunks, dB", f"last 50 of {ablations[0]['chunks']}, dB"), rows)]
    return "\n".join(lines)


def _style_row(score: dict[str, Any]) -> tuple[str, ...]:
    warps = ["" if score[name] is None else f"{score[name]:.2f}" for name in ("warp", "warp_known")]
    return score["style"], f"{score['psnr']:.2f}", f"{score['ssim']:.3f}", f"{score['nearest']:.1%}", *warps


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = "|".join("---" if index == 0 else "--:" for index in range(len(heads)))
    return [f"| {' | '.join(heads)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)]


def write_sheet(clips: Sequence[Clip], middles: Sequence[Sequence[np.ndarray]], path: Path) -> None:
    """Two rows for each clip: its middle frame and every style's output, and below the known pictures.

    middles: per style, in the order of STYLES, the middle output frame of each clip.
    """
    rows = []
    for index, clip in enumerate(clips):
        frame = clip.frames[len(clip.frames) // 2]
        known = [np.round(255 * styled(frame, style)).astype(np.uint8) for style in STYLES]
        rows += [[frame, *(outputs[index] for outputs in middles)], [frame, *known]]
    contact_sheet(rows, path)
