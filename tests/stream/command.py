"""`penstock run` as tests call it: on the tiny model, in small frames."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import main
from tests.stream.conftest import SIZE

SIZE_TEXT = f"{SIZE[0]}x{SIZE[1]}"


def arguments(model: Path, *given: object) -> list[str]:
    """Those of `penstock run`; what is given comes last and therefore wins."""
    fixed = ["run", "--model", model, "--prompt", "a harbour", "--size", SIZE_TEXT, "--device", "cpu", "--threads", 2]
    return [str(argument) for argument in (*fixed, *given)]


def run_json(capsys: pytest.CaptureFixture[str], model: Path, *given: object) -> dict[str, Any]:
    """The report of a run that must succeed and say nothing else."""
    code = main(arguments(model, *given, "--json"))
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    return json.loads(printed.out)


def start(model: Path, *given: object, **settings: Any) -> subprocess.Popen[bytes]:
    """Hears Ctrl-C also where the tests run in the background, where shells have it ignored, and that is inherited."""
    command = [sys.executable, "-m", "penstock", *arguments(model, *given)]
    return subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **settings)
