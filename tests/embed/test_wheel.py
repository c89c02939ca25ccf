"""The wheel in a clean environment: it needs numpy and safetensors and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from penstock import VideoWriter, read_video

from .conftest import STRICT

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


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


def test_bench_from_the_wheel(clean_environment: Path) -> None:
    """Without torch only ours is measured, and that is said."""
    text = run(clean_environment / "penstock", "bench", "rms_norm", "--device", "cpu", "--passes", "1")
    assert "rms_norm  tiny-64x96-2 48x256->48x256  cpu" in text and "eager" not in text
    assert "skipped     all libraries: torch is not installed" in text


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


def run_bytes(command: list[object], given: bytes) -> bytes:
    result = subprocess.run([*map(str, command)], input=given, capture_output=True, cwd="/", env={})
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def flags(clean_environment: Path, *options: str) -> list[str]:
    return run(clean_environment / "penstock", "config", *options).split()


def by_cmake(clean_environment: Path, folder: Path) -> Path:
    (package,) = flags(clean_environment, "--cmake-dir")
    configure = ["cmake", "-S", EXAMPLES / "cpp_host", "-B", folder, f"-Dpenstock_DIR={package}"]
    subprocess.run(configure, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", folder], check=True, capture_output=True)
    return folder / "cpp_host"


def by_pkg_config(clean_environment: Path, folder: Path) -> Path:
    (directory,) = flags(clean_environment, "--pkg-config-dir")
    command = ["pkg-config", "--cflags", "--libs", "penstock"]
    listed = subprocess.run(command, env={**os.environ, "PKG_CONFIG_PATH": directory}, check=True, capture_output=True)
    compiler = ["c++", "-std=c++17", "-pthread", *STRICT, EXAMPLES / "cpp_host" / "main.cpp", "-o", folder / "host"]
    subprocess.run([*compiler, *listed.stdout.decode().split()], check=True)
    return folder / "host"


def by_config(clean_environment: Path, folder: Path) -> Path:
    compiler = ["cc", "-std=c11", *STRICT, EXAMPLES / "c_host" / "main.c", "-o", folder / "c_host"]
    subprocess.run([*compiler, *flags(clean_environment, "--cflags", "--libs")], check=True)
    return folder / "c_host"


def decoded_clip(path: Path, size: tuple[int, int], frames: int) -> np.ndarray:
    """uint8 [frames, height, width, 3] out of an H.264 file, as a host gets them from its decoder."""
    with VideoWriter(path, Fraction(16), size) as writer:
        y, x = np.mgrid[: size[0], : size[1]]
        for i in range(frames):
            picture = np.stack([(x * 3 + i * 5) % 256, (y * 4 + i * 3) % 256, ((x + y) * 2 + i) % 256], -1)
            writer.write(picture.astype(np.uint8)[None])
    with read_video(path, size) as video:
        return np.concatenate([np.asarray(frame).reshape(-1, *size, 3) for frame in video])


def test_hosts_equal_penstock_run(clean_environment: Path, tmp_path: Path) -> None:
    """The examples, built against the installed wheel with CMake, pkg-config and penstock config, bit for bit."""
    size, penstock = (48, 64), clean_environment / "penstock"
    clip = decoded_clip(tmp_path / "clip.mp4", size, 22).tobytes()
    settings = ["--size", "48x64", "--steps", "2"]
    run(penstock, "synth", "tiny", tmp_path / "model")
    run(penstock, "build", tmp_path / "model", tmp_path / "engine", "--prompt", "a ship", *settings)
    command = [penstock, "run", "-", "-o", "-", "--model", tmp_path / "model", "--prompt", "a ship", *settings]
    expected = run_bytes(command, clip)
    assert len(expected) == len(clip)

    rgb = ["--in", "rgb24", "--out", "rgb24"]
    (tmp_path / "cmake").mkdir()
    host = by_cmake(clean_environment, tmp_path / "cmake")
    assert run_bytes([host, tmp_path / "engine", *rgb], clip) == expected
    if shutil.which("pkg-config"):
        assert run_bytes([by_pkg_config(clean_environment, tmp_path), tmp_path / "engine", *rgb], clip) == expected
    assert run_bytes([by_config(clean_environment, tmp_path), tmp_path / "engine"], clip) == expected
    assert run_bytes([host, tmp_path / "engine", "--seed", "5", *rgb], clip) != expected
    check_y4m(host, tmp_path, clip, np.frombuffer(expected, np.uint8).reshape(-1, *size, 3))


def check_y4m(host: Path, folder: Path, clip: bytes, expected: np.ndarray) -> None:
    """Y4M out is what libswscale makes of the same frames, and Y4M in runs."""
    frames, height, width, _ = expected.shape
    y4m = run_bytes([host, folder / "engine", "--in", "rgb24", "--out", "y4m"], clip)
    (folder / "out.y4m").write_bytes(y4m)
    with av.open(folder / "out.y4m") as container:
        decoded = np.stack([frame.to_ndarray() for frame in container.decode(video=0)])
    assert decoded.shape == (frames, height * 3 // 2, width)
    for luma, rgb in zip(decoded[:, :height], expected, strict=True):
        other = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709", src_color_range="JPEG", dst_color_range="MPEG"
        )
        assert np.abs(luma.astype(int) - other.to_ndarray()[:height]).max() <= 2  # libswscale has fewer bits
    again = run_bytes([host, folder / "engine"], y4m)
    assert len(again) == len(y4m) and again.startswith(b"YUV4MPEG2 W64 H48 F16:1 ") and again != y4m
    bad = subprocess.run([host, folder / "engine"], input=y4m[:-7], capture_output=True)
    assert bad.returncode == 1 and bad.stderr.endswith(b"cpp_host: the input ends within a frame\n")


def test_cmake_install_gives_the_same(clean_environment: Path, tmp_path: Path) -> None:
    """`cmake --install` of the build that is here, and the files of the wheel."""
    (package,) = clean_environment.parent.glob("lib/python3*/site-packages/penstock")
    shipped = {path.relative_to(package) for folder in ("include", "lib") for path in (package / folder).rglob("*.*")}
    build = next((ROOT / "build").glob("*/CMakeCache.txt")).parent
    subprocess.run(["cmake", "--install", build, "--prefix", tmp_path], check=True, capture_output=True)
    installed = {
        path.relative_to(tmp_path) for folder in ("include", "lib") for path in (tmp_path / folder).rglob("*.*")
    }
    assert shipped == {path for path in installed if (tmp_path / path).is_file()}
    assert {path.name for path in shipped} >= {"penstock.h", "penstock.hpp", "libpenstock.so", "penstock.pc",
                                               "penstock-config.cmake"}  # fmt: skip
