"""The C++ example host on a device: its frames are those of `penstock run` there, bit for bit.

Both take cuBLASLt's first guesses: the host opens an engine directory, for which algorithms of matrix products would be
measured, `penstock run` does not, and two algorithms may add up in different orders.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from penstock.runtime.cuda_libraries import point_to_cublaslt

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cpp_host" / "main.cpp"
SIZE, FRAMES = (64, 96), 22  # the last chunk is not complete


def penstock(*arguments: object, given: bytes = b"") -> bytes:
    return run([sys.executable, "-m", "penstock", *arguments], given)


def run(command: list[object], given: bytes = b"") -> bytes:
    environment = {**os.environ, "PENSTOCK_IMPL": "gemm=heuristic"}
    result = subprocess.run([*map(str, command)], input=given, capture_output=True, env=environment)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def check_host(device: str, folder: Path) -> None:
    clip = np.random.default_rng(5).integers(0, 256, (FRAMES, *SIZE, 3), np.uint8).tobytes()
    settings = ["--prompt", "a ship", "--size", f"{SIZE[0]}x{SIZE[1]}", "--steps", "2"]
    penstock("synth", "tiny", folder / "model")
    penstock("build", folder / "model", folder / "engine", *settings)
    flags = penstock("config", "--cflags", "--libs").decode().split()
    run(["c++", "-std=c++17", "-pthread", EXAMPLE, "-o", folder / "host", *flags])

    expected = penstock("run", "-", "-o", "-", "--model", folder / "model", "--device", device, *settings, given=clip)
    command = [folder / "host", folder / "engine", "--device", device, "--in", "rgb24", "--out", "rgb24"]
    assert run(command, clip) == expected
    assert len(expected) == len(clip) and expected != clip


def test_the_example_host_equals_penstock_run(tmp_path: Path) -> None:
    point_to_cublaslt()  # for the host, which asks no Python for it
    check_host("cuda", tmp_path)
