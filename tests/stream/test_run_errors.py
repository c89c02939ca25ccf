"""`penstock run` on bad input: exit code 1, exactly one line on stderr that names the thing, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from penstock.cli import main
from penstock.runtime.prompt import Prompt, write_prompt
from tests.stream.command import arguments, start
from tests.stream.conftest import SIZE
from tests.video.clips import clip, encode


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("film") / "in.mp4", clip(5, SIZE), 24)


@pytest.fixture
def failing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_path: Path
) -> Failing:
    monkeypatch.chdir(tmp_path)
    return Failing(capsys, model_path, tmp_path)


class Failing:
    """Calls the command in an own folder and checks that it fails as it must; returns the message."""

    def __init__(self, capsys: pytest.CaptureFixture[str], model: Path, folder: Path):
        self._capsys, self._model, self._folder = capsys, model, folder

    def __call__(self, *given: object) -> str:
        before = sorted(self._folder.rglob("*"))
        assert main(arguments(self._model, *given)) == 1
        printed = self._capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("penstock: error: ") and printed.err.count("\n") == 1
        assert sorted(self._folder.rglob("*")) == before
        return printed.err.removeprefix("penstock: error: ").rstrip("\n")


@pytest.mark.parametrize("output", ["out.mp4", "out.rgb", "out"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "in.mp4: expected a video, found nothing there"), (b"", "in.mp4: expected a video, got an empty file"),
     (bytes(range(256)) * 9, "in.mp4: cannot read it as a video: ")],
    ids=["missing", "empty", "unreadable"],
)  # fmt: skip
def test_bad_video(failing: Failing, tmp_path: Path, output: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "in.mp4").write_bytes(content)
    assert failing("in.mp4", "-o", output).startswith(message)


@pytest.mark.parametrize("output", ["out.mp4", "out.rgb", "out"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nosuch"], "nosuch: expected a model directory, found no model.json in it"),
        (["--model", "wan2.1-t2v-1.3b"], "wan2.1-t2v-1.3b: a preset, not a directory"),
        (["--prompt", "no.safetensors"], "no.safetensors: expected a safetensors file, found no such file"),
        (["--seed", -1], "seed: expected an integer from 0 to 2**64 - 1, got -1"),
    ],
    ids=["model", "preset", "prompt", "seed"],
)
def test_what_fails_after_the_output_was_opened(
    failing: Failing, film: Path, output: str, options: list[object], message: str
) -> None:
    assert failing(film, "-o", output, *options).startswith(message)


SETTINGS = {
    "--steps 5": "steps: expected 1 to 4 (the list (700, 500, 400, 200)), got 5",
    "--noise-scale 2": "noise_scale: expected 0.1 to 1 with noise_controller, got 2.0",
    "--timesteps 700,x": "--timesteps: expected numbers such as 700,500, got '700,x'",
    "--size 50x90": "--size: expected multiples of 16, got 50x90 (--fit crop, letterbox or stretch would use 48x96)",
    "--size 48": "--size: expected HEIGHTxWIDTH such as 480x832, got '48'",
    "--raw-size 9": "--raw-size: expected HEIGHTxWIDTH such as 480x832, got '9'",
    "--frames 0": "--frames: expected 1 or more, got 0",
    "--fps 25": "--fps: expected none for a video file, which has its own rate, got 25",
    "--fps 0": "fps: expected a rate above 0 and up to 1000, got 0",
    "--decoder none": "--decoder: expected wan or taehv, which make frames, got none",
    "--encoder taehv": "latent_norm: expected normalized with encoder taehv, whose latents are, got raw",
    "--threads -1": "threads: expected 0 (all cores) to 4096, got -1",
}


@pytest.mark.parametrize(("option", "message"), SETTINGS.items(), ids=SETTINGS)
def test_bad_settings(failing: Failing, film: Path, option: str, message: str) -> None:
    assert failing(film, "-o", "out.mp4", *option.split()) == message


@pytest.mark.parametrize(("option", "message"), [(["--fps", 0], "fps: "), (["--noise-scale", 0.5], "noise_scale: ")])
def test_bad_settings_of_text_to_video(failing: Failing, option: list[object], message: str) -> None:
    assert failing("-o", "out.mp4", *option).startswith(message)


def test_bad_outputs(failing: Failing, film: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "else.txt").touch()
    assert failing(film, "-o", "out.avi").startswith("out.avi: expected .mp4, .m4v, .mov, .mkv, .rgb, .raw, a folder")
    assert failing(film, "-o", "nowhere/out.mp4") == "nowhere/out.mp4: cannot write: No such file or directory"
    assert failing(film, "-o", "full") == "full: expected a new or empty folder to write pictures to"


def test_the_output_fails_before_the_model_is_loaded(failing: Failing, film: Path) -> None:
    assert failing(film, "-o", "nowhere/out.mp4", "--model", "nosuch").startswith("nowhere/out.mp4")


def test_output_over_its_own_input(failing: Failing, film: Path, tmp_path: Path) -> None:
    content = film.read_bytes()
    (tmp_path / "link.mp4").symlink_to(film)
    for output in (film, tmp_path / "link.mp4"):
        message = f"{output}: expected another place than that of the input, got the same"
        assert failing(film, "-o", output) == message
    assert film.read_bytes() == content


def test_bad_raw_frames(failing: Failing, tmp_path: Path) -> None:
    (tmp_path / "in.rgb").write_bytes(bytes(100))
    assert failing("in.rgb", "-o", "out.mp4").startswith("in.rgb: expected rgb24 frames of 48x64, 9216 bytes each")


def test_standard_input_without_frames(model_path: Path, tmp_path: Path) -> None:
    for output in ("out.rgb", "out"):
        process = start(model_path, "-", "-o", tmp_path / output, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.communicate(timeout=60)[1] == b"penstock: error: -: expected at least one frame, got none\n"
        assert process.returncode == 1 and not list(tmp_path.iterdir())


def test_input_that_ends_within_a_frame(model_path: Path, tmp_path: Path) -> None:
    """What was finished by then stays: of two steps, one chunk is still on its way."""
    process = start(model_path, "-", "-o", tmp_path / "out.rgb", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    said = process.communicate(np.stack(clip(10, SIZE)).tobytes()[:-1], timeout=60)[1]
    assert said == b"penstock: error: -: frame 9: expected 9216 bytes, got 9215\n"
    assert process.returncode == 1 and (tmp_path / "out.rgb").stat().st_size == 5 * 9216


def test_prompt_file_of_another_model(failing: Failing, film: Path, tmp_path: Path) -> None:
    write_prompt(tmp_path / "wide.safetensors", Prompt(np.zeros((2, 99), np.float32), "text", "encoder", 2))
    message = failing(film, "-o", "out.mp4", "--prompt", "wide.safetensors")
    assert message == "prompt_embeddings: expected [at most 128, 256], got [2, 99]"


@pytest.mark.parametrize(("component", "options"), [("vae", []), ("taehv", ["--decoder", "taehv"])])
def test_model_without_autoencoder(
    failing: Failing, film: Path, model_path: Path, tmp_path: Path, component: str, options: list[str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for weights in model_path.glob("*.safetensors"):
        (folder / weights.name).symlink_to(weights)
    description = json.loads((model_path / "model.json").read_text())
    del description[component]
    (folder / "model.json").write_text(json.dumps(description))
    message = failing(film, "-o", "out.mp4", "--model", "model", *options)
    assert message.endswith(f"expected a {component.upper()}, found none; add one with penstock convert")


def test_without_pyav(model_path: Path, film: Path, tmp_path: Path) -> None:
    """Raw frames need nothing but numpy; everything else names the extra to install."""
    np.stack(clip(5, SIZE)).tofile(tmp_path / "in.rgb")
    hidden = "import sys; sys.modules['av'] = None; from penstock.cli import main; sys.exit(main(sys.argv[1:]))"

    def run(*given: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", hidden, *arguments(model_path, *given)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert run(tmp_path / "in.rgb", "-o", tmp_path / "out.rgb").returncode == 0
    assert (tmp_path / "out.rgb").stat().st_size == (tmp_path / "in.rgb").stat().st_size
    for given in ((film, "-o", tmp_path / "x.rgb"), (tmp_path / "in.rgb", "-o", tmp_path / "x.mp4")):
        result = run(*given)
        assert result.returncode == 1 and result.stderr.count("\n") == 1
        assert result.stderr.startswith("penstock: error: video files need PyAV")
        assert result.stderr.endswith("pip install 'penstock[video]'\n")
