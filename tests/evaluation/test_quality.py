"""The measuring, on a model that is known: it paints the right picture, one chunk late, as a stream batch does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.cli import main
from penstock.evaluation.quality import Clip, prompt_change, score_drift, score_styles, score_vae, styled
from penstock.evaluation.styles import STYLES, style
from penstock.runtime.config import Config
from penstock.runtime.synth import synth

SIZE = (32, 48)


class Painter:
    """Stands for Model and Session. fades: share of grey that each frame adds; wrong: the one style that it knows."""

    def __init__(self, fades: float = 0.0, wrong: str | None = None):
        self.fades, self.wrong = fades, wrong

    def session(self, prompt: str, height: int, width: int, **_: Any) -> Painter:
        self.prompt, self.config = prompt, Config(height=height, width=width)
        self.waiting: list[np.ndarray] = []
        self.done = 0
        return self

    def push(self, frames: np.ndarray) -> np.ndarray:
        self.waiting += list(frames.reshape(-1, *frames.shape[-3:]))
        count = max(0, (len(self.waiting) - 5) // 4 * 4 + 1) if self.done == 0 else (len(self.waiting) - 4) // 4 * 4
        return self._paint(max(count, 0))

    def flush(self) -> np.ndarray:
        return self._paint(len(self.waiting))

    def _paint(self, count: int) -> np.ndarray:
        entry = style(self.wrong) if self.wrong else next(s for s in STYLES if s.prompt == self.prompt)
        frames, self.waiting = self.waiting[:count], self.waiting[count:]
        painted = []
        for frame in frames:
            grey = min(1.0, self.fades * self.done)
            painted.append((1 - grey) * styled(frame[None], entry)[0] + grey * 0.5)
            self.done += 1
        return np.round(255 * np.array(painted)).astype(np.uint8).reshape(-1, *SIZE, 3)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return frames

    def decode(self, latents: np.ndarray) -> np.ndarray:
        return latents / np.float32(255) * np.float32(0.9)

    def __enter__(self) -> Painter:
        return self

    def __exit__(self, *_: object) -> None:
        pass


CLIPS = [Clip.procedural(index, 13, SIZE) for index in range(2)]


def test_right_pictures() -> None:
    scores, middles = score_styles(Painter(), CLIPS, {}, lambda _: None)
    expected = [[np.round(255 * styled(clip.frames[6], entry)) for clip in CLIPS] for entry in STYLES]
    np.testing.assert_array_equal(middles, expected)
    assert [score.style for score in scores] == [entry.name for entry in STYLES]
    for score in scores:
        assert score.frames == 26 and score.nearest == 1 and score.ssim > 0.99 and score.psnr > 50
        assert abs(score.warp - score.warp_known) < 0.5


def test_wrong_pictures() -> None:
    scores, _ = score_styles(Painter(wrong="sepia film"), CLIPS, {}, lambda _: None)
    assert [score.nearest for score in scores] == [float(score.style == "sepia film") for score in scores]
    assert all(score.psnr < 25 for score in scores if score.style != "sepia film")


def test_the_vae_alone() -> None:
    """Pictures that are a tenth too dark, by hand."""
    frames = np.concatenate([clip.frames for clip in CLIPS]) / 255.0
    expected = np.mean(-10 * np.log10(np.mean(np.square(0.1 * frames), (1, 2, 3))))
    assert abs(score_vae(Painter(), CLIPS, {}) - expected) < 1e-3


def test_drift_is_seen() -> None:
    steady, fading = (score_drift(Painter(fades), style("sepia film"), 30, SIZE, {}, part=10) for fades in (0.0, 0.002))
    assert len(steady.course) == 3 and (steady.first, steady.last) == (steady.course[0], steady.course[-1])
    assert min(steady.course) > 50 and fading.first - fading.last > 5


def test_prompt_change_counts_chunks() -> None:
    """The painter asks for the prompt when it paints: the chunk that waits takes the new one already."""
    entries = style("sepia film"), style("inverted colours")
    assert prompt_change(Painter(), SIZE, {}, *entries) == 0
    assert prompt_change(Painter(wrong="sepia film"), SIZE, {}, *entries) is None


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    synth("tiny", model)
    given = ["--model", model, "--size", "32x48", "--clips", 1, "--frames", 9, "--chunks", 3, "--ablation-chunks", 0]
    assert main(["eval", *map(str, given), "-o", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "quality.json").read_text())
    assert [score["style"] for score in printed["styles"]["procedural"]] == [entry.name for entry in STYLES]
    assert printed["drift"]["chunks"] == 3 and "ablations" not in printed
    text = (out / "quality.md").read_text()
    assert all(f"| {entry.name} |" in text for entry in STYLES)
    assert (out / "styles.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--clips", "0"], "--clips: expected 1 or more, or a --video, got 0"),
        (["--frames", "4"], "--frames: expected 5 or more, got 4"),
        (["--ablation-chunks", "-1"], "--ablation-chunks: expected 0 or more, got -1"),
    ],
)
def test_bad_options(given: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", *given]) == 1
    assert message in capsys.readouterr().err
