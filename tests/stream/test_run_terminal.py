"""`penstock run` under a terminal: the line of progress, and Ctrl-C in the middle."""

from __future__ import annotations

import fcntl
import math
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path

import numpy as np
import pytest

from penstock.video import read_video
from penstock.video.h264 import H264Sink
from tests.stream.command import run_json, start
from tests.stream.conftest import SIZE
from tests.video.clips import clip

PIPE = subprocess.PIPE
COLUMNS = 100  # enough for times of seconds too
CTRL_C = 130


@pytest.fixture(scope="module")
def frames() -> bytes:
    """9 frames: with two steps, 5 of them are through the stream batch while its standard input stays open."""
    return np.stack(clip(9, SIZE)).tobytes()


class Terminal:
    """A terminal of 100 columns for the standard error of a process, and what was said there so far."""

    def __init__(self) -> None:
        self._own, self.end = pty.openpty()
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self.text = ""

    def read_until(self, pattern: str) -> None:
        while not re.search(pattern, self.text):
            assert self._read_more(), f"no {pattern!r} in {self.text!r}"

    def read_all(self) -> None:
        while self._read_more():
            pass

    def begin(self) -> None:
        """Leaves the terminal to the process, whose exit then ends it."""
        os.close(self.end)

    def _read_more(self) -> bool:
        try:
            part = os.read(self._own, 4096)
        except OSError:  # how Linux reports that the process is gone
            part = b""
        self.text += part.decode().replace("\r\n", "\n")
        return bool(part)


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_progress(model_path: Path, tmp_path: Path, frames: bytes, terminal: Terminal) -> None:
    (tmp_path / "in.rgb").write_bytes(frames)
    process = start(model_path, tmp_path / "in.rgb", "-o", tmp_path / "out.mp4", stdout=PIPE, stderr=terminal.end)
    terminal.begin()
    terminal.read_all()
    assert process.wait(timeout=60) == 0
    number = r"\d+(\.\d+)?"
    last = rf"9/9 \[-00:00\] {number} frames/s, ms: latency \d+, encode \d+, denoise \d+, decode \d+ *\n"
    assert re.search(last, terminal.text), terminal.text
    assert max(map(len, re.split("[\r\n]", terminal.text))) < COLUMNS
    assert process.stdout.read().count(b"\n") == 2


def test_a_warning_has_a_line_of_its_own(model_path: Path, tmp_path: Path, terminal: Terminal) -> None:
    (tmp_path / "in.rgb").write_bytes(bytes(math.prod(SIZE) * 3))
    prompt = " ".join(["word"] * 200)
    process = start(model_path, tmp_path / "in.rgb", "-o", tmp_path / "out.mp4", "--prompt", prompt, stdout=PIPE,
                    stderr=terminal.end)  # fmt: skip
    terminal.begin()
    terminal.read_all()
    assert process.wait(timeout=60) == 0
    assert "penstock: warning: the prompt has 201 tokens" in re.split("[\r\n]", terminal.text)[0]


@pytest.mark.parametrize(
    ("output", "stop"), [("out.mp4", signal.SIGINT), ("out.mp4", signal.SIGTERM), ("out.rgb", signal.SIGINT),
                         ("out", signal.SIGINT)]
)  # fmt: skip
def test_ctrl_c_keeps_what_is_done(
    model_path: Path, tmp_path: Path, frames: bytes, terminal: Terminal, output: str, stop: signal.Signals
) -> None:
    process = start(model_path, "-", "-o", tmp_path / output, stdin=PIPE, stdout=PIPE, stderr=terminal.end)
    terminal.begin()
    process.stdin.write(frames)
    process.stdin.flush()
    terminal.read_until(r"\r5 \[")
    process.send_signal(stop)
    terminal.read_all()
    assert (process.wait(timeout=60), process.stdout.read()) == (CTRL_C, b"")
    last = terminal.text.splitlines()[-1]
    assert last == f"penstock: interrupted: {tmp_path / output}: 5 frames, 0.3 s of video, are written"
    assert [path.name for path in tmp_path.iterdir()] == [output]
    with read_video(tmp_path / output, SIZE) as video:
        assert len(list(video)) == 5


def test_ctrl_c_without_a_terminal(model_path: Path, frames: bytes) -> None:
    process = start(model_path, "-", "-o", "-", stdin=PIPE, stdout=PIPE, stderr=PIPE)
    process.stdin.write(frames)
    process.stdin.flush()
    assert len(process.stdout.read(5 * 3 * math.prod(SIZE))) == 5 * 3 * math.prod(SIZE)
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=60)
    assert (process.returncode, rest) == (CTRL_C, b"")
    # The fifth frame can be seen here before it counts there.
    assert re.fullmatch(rb"penstock: interrupted: -: [45] frames, 0.[23] s of video, are written\n", said)


def test_ctrl_c_before_the_first_frame(model_path: Path, tmp_path: Path, terminal: Terminal) -> None:
    process = start(model_path, "-", "-o", tmp_path / "out.mp4", stdin=PIPE, stdout=PIPE, stderr=terminal.end)
    terminal.begin()
    terminal.read_until(r"\r0 \[")
    process.send_signal(signal.SIGINT)
    terminal.read_all()
    assert process.wait(timeout=60) == CTRL_C
    assert terminal.text.endswith(f"penstock: interrupted: {tmp_path / 'out.mp4'}: nothing is written\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_the_file_is_completed(
    model_path: Path, tmp_path: Path, frames: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
    stop: signal.Signals,
) -> None:  # fmt: skip
    """It comes too late: the file is completed and the run has succeeded."""
    close = H264Sink.close

    def close_with_ctrl_c(sink: H264Sink) -> None:
        os.kill(os.getpid(), stop)
        close(sink)

    monkeypatch.setattr(H264Sink, "close", close_with_ctrl_c)
    handler = signal.getsignal(stop)
    (tmp_path / "in.rgb").write_bytes(frames)
    run_json(capsys, model_path, tmp_path / "in.rgb", "-o", tmp_path / "out.mp4")
    assert len(list(read_video(tmp_path / "out.mp4"))) == 9
    assert signal.getsignal(stop) is handler
