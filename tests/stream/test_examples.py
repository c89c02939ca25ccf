"""The Python examples run, on small clips."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from penstock.video import read_video
from tests.stream.conftest import SIZE
from tests.video.clips import clip, encode

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(folder: Path, example: str, *arguments: object) -> str:
    command = [sys.executable, EXAMPLES / example, *map(str, arguments)]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_demo(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    printed = run(tmp_path, "demo.py", "--size", "48x64", "--frames", 14, "--out", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["contact_sheet.png", "input.mp4", "output.mp4"]
    for name in ("input.mp4", "output.mp4"):
        with read_video(folder / name) as video:
            assert (len(list(video)), video.info.size, video.info.fps) == (14, SIZE, Fraction(16))
    assert (folder / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "'a pencil sketch'" in printed and "penstock convert" in printed
    assert f"penstock run {folder / 'input.mp4'} --prompt" in printed


def test_stream_video(tmp_path: Path, model_path: Path) -> None:
    """The prompt changes at the sixth chunk; every frame has its frame."""
    film = encode(tmp_path / "in.mp4", clip(31, SIZE), 25)
    size = ["--height", SIZE[0], "--width", SIZE[1]]
    printed = run(tmp_path, "stream_video.py", film, tmp_path / "out.mp4", "--model", model_path, *size)
    assert "chunk 6: the same harbour at night" in printed and "31 frames in, 31 out, 8 chunks" in printed
    with read_video(tmp_path / "out.mp4") as video:
        assert (len(list(video)), video.info.fps) == (31, 25)
