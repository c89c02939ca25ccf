"""C++ hosts that submit and pull beside the model, run out of memory, cancel, and use sessions from several threads."""

from __future__ import annotations

import subprocess
from pathlib import Path

from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.synth import synth


def run(*command: object) -> str:
    result = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_queues_cancel_and_misuse(compile_host, echo_engine: Path, slow_echo_engine: Path) -> None:
    run(compile_host("live.cpp", "-pthread"), echo_engine, slow_echo_engine)


def test_every_allocation_may_fail(compile_host, echo_engine: Path) -> None:
    assert "allocations failed one by one" in run(compile_host("failures.cpp"), echo_engine)


def test_two_sessions_on_two_threads(compile_host, tmp_path: Path) -> None:
    synth("tiny", tmp_path / "model", seed=6)
    build(tmp_path / "model", tmp_path / "engine", Config(height=32, width=48, steps=2))
    run(compile_host("threads.cpp", "-pthread"), tmp_path / "engine", 14)
