"""`penstock run`: every kind of input and output, rates, sound, sizes, settings, its report."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from penstock.cli import main
from penstock.runtime.prompt import write_prompt
from penstock.runtime.text import hash_embedding
from penstock.video import VideoWriter, read_video
from tests.stream.command import SIZE_TEXT, arguments, run_json, start
from tests.stream.conftest import SIZE
from tests.video.clips import clip, encode, tone_of

FIELDS = {
    "input", "output", "model", "size", "frame_rate", "audio", "steps", "mode", "decoder", "seed", "load_seconds",
    "frames_in", "frames_out", "seconds", "fps", "first_frame_seconds", "latency_ms", "phases", "host_peak_bytes",
}  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """11 frames at 355/12 a second, with sound."""
    path = tmp_path_factory.mktemp("film") / "in.mp4"
    return encode(path, clip(11, SIZE), Fraction(355, 12), audio="aac", audio_seconds=0.6)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "in.rgb"
    np.stack(clip(6, SIZE)).tofile(path)
    return path


def raw_frames(path: Path) -> np.ndarray:
    return np.fromfile(path, np.uint8).reshape(-1, *SIZE, 3)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_frames_rate_and_sound_are_kept(
    capsys: pytest.CaptureFixture, model_path: Path, film: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"out.{suffix}"
    report = run_json(capsys, model_path, film, "-o", output)
    with read_video(output) as video:
        frames = list(video)
    assert (len(frames), video.info.size, video.info.fps) == (11, SIZE, Fraction(355, 12))
    assert np.stack(frames).std() > 10
    codec, tone, _ = tone_of(output)
    assert codec == "aac" and len(tone) / 44100 == pytest.approx(11 * 12 / 355, abs=0.05)
    assert report["audio"] is True and report["frame_rate"] == round(355 / 12, 6)


def test_report(capsys: pytest.CaptureFixture, model_path: Path, film: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    report = run_json(capsys, model_path, film, "-o", output, "--seed", 3, "--steps", 1)
    assert report.keys() == FIELDS
    given = {"input": str(film), "output": str(output), "model": str(model_path), "size": list(SIZE), "steps": 1,
             "mode": "stream_batch", "decoder": "wan", "seed": 3, "frames_in": 11, "frames_out": 11}  # fmt: skip
    assert given.items() <= report.items()
    assert report["fps"] == pytest.approx(11 / report["seconds"], rel=0.02)
    assert 0 < report["first_frame_seconds"] <= report["seconds"]
    assert 0 < report["latency_ms"]["mean"] <= report["latency_ms"]["p95"] <= 1e3 * report["seconds"]
    assert report["phases"].keys() == {"set_prompt", "encode_first", "denoise_first", "decode_first", "encode",
                                       "denoise", "decode"}  # fmt: skip
    assert all(phase["runs"] > 0 and phase["mean_ms"] > 0 for phase in report["phases"].values())


def test_text_report(capsys: pytest.CaptureFixture, model_path: Path, raw: Path, tmp_path: Path) -> None:
    assert main(arguments(model_path, raw, "-o", tmp_path / "out.mp4")) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / 'out.mp4'}: 6 frames of {SIZE_TEXT} in ") and "frames/s" in first
    assert second.startswith("ms per phase: set_prompt ") and "latency" in second


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_few_frames(capsys: pytest.CaptureFixture, model_path: Path, film: Path, tmp_path: Path, count: int) -> None:
    """--frames cuts the input; the sound ends with it."""
    output = tmp_path / "out.mp4"
    report = run_json(capsys, model_path, film, "-o", output, "--frames", count)
    assert report["frames_in"] == report["frames_out"] == len(list(read_video(output))) == count
    assert len(tone_of(output)[1]) / 44100 <= count * 12 / 355 + 2 * 1024 / 44100


def test_sound_can_be_left_out(capsys: pytest.CaptureFixture, model_path: Path, film: Path, tmp_path: Path) -> None:
    for output, options in ((tmp_path / "out.mp4", ["--no-audio"]), (tmp_path / "out.rgb", [])):
        report = run_json(capsys, model_path, film, "-o", output, "--frames", 2, *options)
        assert report["audio"] is False
    assert not read_video(tmp_path / "out.mp4").info.has_audio


def test_every_kind_of_input_gives_the_same_frames(
    capsys: pytest.CaptureFixture, model_path: Path, raw: Path, tmp_path: Path
) -> None:
    """A folder of pictures, a raw file and standard input hold the same pixels; outputs by folder, file and stream."""
    with VideoWriter(tmp_path / "pictures", 16, SIZE) as writer:
        writer.write(raw_frames(raw))
    run_json(capsys, model_path, raw, "-o", tmp_path / "out.rgb")
    report = run_json(capsys, model_path, tmp_path / "pictures", "-o", tmp_path / "made", "--fps", "7.5")
    assert report["frame_rate"] == 7.5
    expected = raw_frames(tmp_path / "out.rgb")
    assert len(expected) == 6
    np.testing.assert_array_equal(np.stack(list(read_video(tmp_path / "made"))), expected)
    process = start(model_path, "-", "-o", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    streamed, said = process.communicate(raw.read_bytes(), timeout=60)
    assert process.returncode == 0 and b"6 frames" in said
    np.testing.assert_array_equal(np.frombuffer(streamed, np.uint8).reshape(expected.shape), expected)


@pytest.mark.parametrize("fit", ["crop", "letterbox", "stretch"])
def test_sizes_that_are_no_multiple_of_16(
    capsys: pytest.CaptureFixture, model_path: Path, film: Path, tmp_path: Path, fit: str
) -> None:
    report = run_json(capsys, model_path, film, "-o", tmp_path / "out.mp4", "--size", "50x90", "--fit", fit,
                      "--frames", 2)  # fmt: skip
    assert report["size"] == [48, 96] == list(read_video(tmp_path / "out.mp4").info.size)


def test_raw_frames_of_another_size(capsys: pytest.CaptureFixture, model_path: Path, tmp_path: Path) -> None:
    """--raw-size tells the size of raw frames; without it they have --size, which --fit then rounds."""
    path = tmp_path / "in.rgb"
    np.stack(clip(5, (50, 90))).tofile(path)
    for options in (["--raw-size", "50x90"], ["--size", "50x90", "--fit", "crop"]):
        assert run_json(capsys, model_path, path, "-o", tmp_path / "out.rgb", *options)["frames_in"] == 5


def test_text_to_video(capsys: pytest.CaptureFixture, model_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    report = run_json(capsys, model_path, "-o", output, "--frames", 11, "--fps", 12, "--steps", 1)
    assert (report["input"], report["frames_in"], report["frames_out"]) == (None, 0, 11)
    assert report.keys() == FIELDS - {"latency_ms"}
    with read_video(output) as video:
        assert video.info.fps == 12 and len(list(video)) == 11


@pytest.mark.parametrize(
    "options",
    ["--decoder taehv", "--encoder taehv --latent-norm normalized", "--no-noise-controller --noise-scale 0.3",
     "--timesteps 800,300", "--seed 5"],
)  # fmt: skip
def test_settings_reach_the_stream(
    capsys: pytest.CaptureFixture, model_path: Path, raw: Path, tmp_path: Path, options: str
) -> None:
    plain, other = tmp_path / "plain.rgb", tmp_path / "other.rgb"
    run_json(capsys, model_path, raw, "-o", plain)
    run_json(capsys, model_path, raw, "-o", other, *options.split())
    assert raw_frames(plain).shape == raw_frames(other).shape
    assert (raw_frames(plain) != raw_frames(other)).mean() > 0.1


def test_modes(capsys: pytest.CaptureFixture, model_path: Path, film: Path, tmp_path: Path) -> None:
    """With a cache for each step the modes agree up to rounding; with a shared one they part at the third chunk."""
    outputs = []
    for mode, *options in (["stream_batch"], ["sequential", "--history", "per_step"], ["sequential"]):
        report = run_json(capsys, model_path, film, "-o", tmp_path / "out.rgb", "--mode", mode, *options)
        assert report["mode"] == mode
        outputs.append(raw_frames(tmp_path / "out.rgb").astype(int))
    batch, per_step, shared = outputs
    assert np.abs(per_step - batch).max() <= 1
    assert np.abs(shared - batch)[:5].max() <= 1 < np.abs(shared - batch)[9:].max()


def test_prompt_from_a_file(capsys: pytest.CaptureFixture, model_path: Path, raw: Path, tmp_path: Path) -> None:
    """The embeddings in the file count, as the prompt itself does."""
    write_prompt(tmp_path / "prompt.safetensors", hash_embedding("a ship", 128, 256), "F32")
    for name, prompt in (("text", "a ship"), ("file", tmp_path / "prompt.safetensors"), ("other", "a train")):
        run_json(capsys, model_path, raw, "-o", tmp_path / f"{name}.rgb", "--prompt", prompt)
    text, file, other = (raw_frames(tmp_path / f"{name}.rgb") for name in ("text", "file", "other"))
    np.testing.assert_array_equal(text, file)
    assert (text != other).any()


def test_a_long_prompt_is_cut_with_a_warning(
    capsys: pytest.CaptureFixture, model_path: Path, raw: Path, tmp_path: Path
) -> None:
    """tiny takes 128 rows: 127 words and the end."""
    cut, full = tmp_path / "cut.rgb", tmp_path / "full.rgb"
    words = [f"word{index}" for index in range(300)]
    assert main(arguments(model_path, raw, "-o", cut, "--prompt", " ".join(words))) == 0
    assert capsys.readouterr().err == (
        "penstock: warning: the prompt has 301 tokens, 128 are used: its last words have no effect\n"
    )
    run_json(capsys, model_path, raw, "-o", full, "--prompt", " ".join(words[:127]))
    np.testing.assert_array_equal(raw_frames(cut), raw_frames(full))


def test_the_schedule_changes_no_frame(
    capsys: pytest.CaptureFixture, model_path: Path, raw: Path, tmp_path: Path
) -> None:
    outputs = [tmp_path / "latency.rgb", tmp_path / "throughput.rgb"]
    for output in outputs:
        run_json(capsys, model_path, raw, "-o", output, "--schedule", output.stem)
    assert outputs[0].read_bytes() == outputs[1].read_bytes() and len(raw_frames(outputs[0])) == 6
