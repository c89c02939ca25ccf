"""C11 programs without Python run engine directories that Python built, bit for bit as Python does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from penstock.models import load
from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.engine import Engine
from penstock.runtime.synth import synth

CHUNKS = 8  # beyond the six cache frames: filling, full and after eviction


@pytest.fixture(scope="module", params=["stream_batch", "sequential"])
def engine_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    synth("tiny", folder / "model", seed=3)
    build(folder / "model", folder / "engine", Config(height=64, width=96, steps=2, mode=request.param))
    return folder / "engine"


def test_c_host_equals_python(engine_dir: Path, compile_host, tmp_path: Path, rng: np.random.Generator) -> None:
    engine = Engine.open(engine_dir, device="cpu")
    prompt = rng.standard_normal((17, 256)).astype(np.float32)
    first = rng.standard_normal(engine.tensor_info("latents_first").shape).astype(np.float32)
    latents = rng.standard_normal((CHUNKS, *engine.tensor_info("latents").shape)).astype(np.float32)

    session = engine.session()
    session.write("seed", [7])
    session.set_prompt(prompt)
    session.write("latents_first", first)
    session.run("denoise_first")
    outputs = [session.read("x0_first")]
    for chunk in latents:
        session.write("latents", chunk)
        session.run("denoise")
        outputs.append(session.read("x0"))
    expected = b"".join(output.tobytes() for output in outputs)

    for name, values in (("prompt", prompt), ("first", first), ("latents", latents)):
        (tmp_path / name).write_bytes(values.tobytes())
    command = [compile_host("denoise.c"), engine_dir, tmp_path / "prompt", "17", "256", tmp_path / "first",
               tmp_path / "latents", tmp_path / "out"]  # fmt: skip
    subprocess.run(command, check=True)
    assert (tmp_path / "out").read_bytes() == expected
    assert np.isfinite(np.concatenate([output.ravel() for output in outputs])).all()


@pytest.mark.parametrize("fields", [{"steps": 3}, {"steps": 2, "mode": "sequential", "decoder": "taehv"}])
def test_c_host_of_video_equals_python(fields: dict, compile_host, tmp_path: Path, rng: np.random.Generator) -> None:
    """uint8 frames in, uint8 frames out; 22 frames, whose last chunk is not complete."""
    synth("tiny", tmp_path / "model", seed=4)
    config = Config(height=48, width=64, **fields)
    build(tmp_path / "model", tmp_path / "engine", config)
    model = load(tmp_path / "model")
    frames = np.clip(np.cumsum(rng.integers(-8, 9, (22, 48, 64, 3)), axis=0) + 128, 0, 255).astype(np.uint8)
    prompt = model.embed("a boat on a lake")
    with model.session(prompt, config=config, device="cpu", seed=7) as session:
        expected = np.concatenate(list(session.stream(frames)))

    (tmp_path / "prompt").write_bytes(prompt.embeddings.tobytes())
    (tmp_path / "frames").write_bytes(frames.tobytes())
    rows, text_dim = map(str, prompt.embeddings.shape)
    command = [compile_host("video.c"), tmp_path / "engine", tmp_path / "prompt", rows, text_dim, tmp_path / "frames",
               tmp_path / "out"]  # fmt: skip
    subprocess.run(command, check=True)
    actual = np.frombuffer((tmp_path / "out").read_bytes(), np.uint8).reshape(frames.shape)
    np.testing.assert_array_equal(actual, expected)
    assert actual.std() > 10


def test_c_host_reports_a_missing_engine(compile_host, tmp_path: Path) -> None:
    command = [compile_host("denoise.c"), tmp_path / "nothing", "p", "1", "1", "f", "l", "o"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "PENSTOCK_ERR_BAD_FILE" in result.stderr and str(tmp_path / "nothing") in result.stderr
