"""The wheel in a clean environment: it needs numpy and safetensors and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel and its requirements."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", folder, ROOT]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("penstock-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    subprocess.run([folder / "env/bin/pip", "install", "-q", wheel], check=True)
    return folder / "env" / "bin"


def run(program: Path, *arguments: object) -> str:
    # -I in effect: a checkout on PYTHONPATH must not stand in for the wheel.
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, cwd="/", env={})
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_wheel_asks_for_two_packages(clean_environment: Path) -> None:
    listed = json.loads(run(clean_environment / "pip", "list", "--format", "json"))
    assert {package["name"] for package in listed} - {"pip", "setuptools"} == {"penstock", "numpy", "safetensors"}


def test_doctor(clean_environment: Path) -> None:
    text = run(clean_environment / "penstock", "doctor")
    assert "cpu backend  yes" in text and "torch        missing: needed for penstock convert" in text
    assert "av           missing: needed for penstock run" in text
    report = json.loads(run(clean_environment / "penstock", "doctor", "--json"))
    assert report["cpu_threads"] >= 1 and report["libraries"]["torch"] is None


def test_tiny_from_the_wheel(clean_environment: Path, tmp_path: Path) -> None:
    penstock = clean_environment / "penstock"
    run(penstock, "synth", "tiny", tmp_path / "model")
    run(penstock, "build", tmp_path / "model", tmp_path / "engine", "--size", "64x64")
    assert "phase denoise:" in run(penstock, "info", tmp_path / "engine")
    script = (
        "from penstock.runtime.engine import Engine; s = Engine.open('{}').session(); s.run('denoise_first'); "
        "import numpy as np; x = s.read('x0_first'); assert np.isfinite(x).all() and x.std() > 0.1; print(x.shape)"
    )
    assert run(clean_environment / "python", "-c", script.format(tmp_path / "engine")).strip() == "(1, 2, 16, 8, 8)"


def test_the_packaged_model_needs_no_encoder_for_its_styles(clean_environment: Path) -> None:
    script = (
        "import numpy as np, penstock; s = penstock.load('tiny').session('a pencil sketch', height=48, width=64); "
        "frames = np.concatenate([s.push(np.full((5, 48, 64, 3), 90, np.uint8)), s.flush()]); print(frames.shape)"
    )
    assert run(clean_environment / "python", "-c", script).strip() == "(5, 48, 64, 3)"


def test_run_from_the_wheel(clean_environment: Path, tmp_path: Path) -> None:
    """Raw frames need no PyAV; a video names the extra that has it."""
    (tmp_path / "in.rgb").write_bytes(bytes(range(256)) * (5 * 48 * 64 * 3 // 256))
    run(clean_environment / "penstock", "synth", "tiny", tmp_path / "model")
    command = ["run", tmp_path / "in.rgb", "--model", tmp_path / "model", "--prompt", "a ship", "--size", "48x64"]
    run(clean_environment / "penstock", *command, "-o", tmp_path / "out.rgb")
    assert (tmp_path / "out.rgb").stat().st_size == (tmp_path / "in.rgb").stat().st_size
    command = [clean_environment / "penstock", *command, "-o", tmp_path / "out.mp4"]
    result = subprocess.run(command, capture_output=True, text=True, cwd="/", env={})
    assert result.returncode == 1 and result.stderr.endswith("pip install 'penstock[video]'\n")


def test_python_from_the_wheel(clean_environment: Path, tmp_path: Path) -> None:
    script = (
        "import penstock, numpy as np; penstock.Config, penstock.VideoWriter, penstock.read_video; "
        "s = penstock.load('{}').session('a ship', height=48, width=64); "
        "print(len(s.push(np.zeros((5, 48, 64, 3), np.uint8))), len(s.flush()))"
    )
    run(clean_environment / "penstock", "synth", "tiny", tmp_path / "model")
    assert run(clean_environment / "python", "-c", script.format(tmp_path / "model")).split() == ["5", "0"]


def test_wheel_carries_header_and_library(clean_environment: Path) -> None:
    (package,) = clean_environment.parent.glob("lib/python3*/site-packages/penstock")
    assert (package / "include/penstock/penstock.h").is_file()
    assert (package / "lib/libpenstock.so").is_file()
