"""``penstock bench`` and whole streams, on the CPU."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from penstock.benchmarks import cold_start, end_to_end, run_ops
from penstock.benchmarks.cost import Peaks
from penstock.benchmarks.end_to_end import STANDARD, STREAMS, find_stream, measure_stream
from penstock.benchmarks.peaks import MeasuredPeaks
from penstock.benchmarks.results import Results
from penstock.benchmarks.timing import Measure
from penstock.benchmarks.variants import Target
from penstock.cli import main
from penstock.runtime.engine import query_system
from penstock.runtime.errors import PenstockError

no_gpu = pytest.mark.skipif(query_system()["cuda_device_count"] > 0, reason="an NVIDIA device is here")


def test_ops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ops.json"
    options = ["--shape", "tiny-64x96-1", "--device", "cpu", "--threads", "1", "--note", "a test"]
    assert main(["bench", "rms_norm", "causal_conv3d", *options, "--json", str(path)]) == 0
    out = capsys.readouterr().out
    for text in ("rms_norm", "eager", "note        a test",
                 "skipped     triton, cuda, library: they need an NVIDIA device",
                 "skipped     causal_conv3d tiny-64x96-1: the plan has no such op"):  # fmt: skip
        assert text in out
    results = Results.load(path)
    assert results.passes == 2 and results.set == "ops" and results.device == "cpu"
    assert {row["implementation"] for row in results.rows} == {"cpu", "eager"}
    assert all(row["metrics"]["us"]["rounds"] >= 14 for row in results.rows)
    assert results.machine["versions"]["torch"] and results.machine["commit"]
    assert main(["bench", "--compare", str(path), str(path)]) == 0
    assert "0 of 2 metrics changed beyond the noise" in capsys.readouterr().out


@pytest.fixture
def known_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of those of this machine, which take seconds to measure."""
    rate = Measure(1e11, 1e11, 1e11, 7)
    monkeypatch.setattr("penstock.benchmarks.results.measure_peaks", lambda _: MeasuredPeaks(rate, rate))


@pytest.mark.usefixtures("known_peaks")
def test_nothing_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The reasons are written, and it is an error: `make gpu` must not take it for a result."""
    assert main(["bench", "rms_norm", "--device", "cpu", "--seconds", "-1", "--passes", "1", "--json", "-"]) == 1
    out, error = capsys.readouterr()
    assert error == "penstock: error: bench: nothing was measured; what was skipped has its reason\n"
    record = json.loads(out)
    assert record["rows"] == [] and record["skipped"] == {"rms_norm tiny-64x96-2": "no time left of -1 s"}


@pytest.mark.parametrize(
    ("what", "module", "one"),
    [(["gemm", "rms_norm", "patchify"], run_ops, "measure_op"),
     (["e2e", "--shape", "tiny-64x96-2", "tiny-64x96-1", "tiny-64x96-3"], end_to_end, "measure_stream")],
    ids=["ops", "streams"],
)  # fmt: skip
@pytest.mark.usefixtures("known_peaks")
def test_an_interrupted_run_keeps_what_it_has(
    what: list[str], module: Any, one: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second of three is interrupted, in the first of two passes."""
    row = {"id": "a", "kind": "op", "metrics": {"us": Measure(1.0, 1.0, 1.0, 7).to_json()}}
    made = iter([[row] if module is run_ops else row])

    def measure_one(*_: Any) -> Any:
        if (first := next(made, None)) is None:
            raise KeyboardInterrupt
        return first

    monkeypatch.setattr(module, one, measure_one)
    assert main(["bench", *what, "--device", "cpu", "--json", "-"]) == 130
    out, error = capsys.readouterr()
    record = json.loads(out)
    assert [row["id"] for row in record["rows"]] == ["a"] and record["passes"] == 1
    assert record["skipped"] == {"the rest": "interrupted"} and error.startswith("penstock: interrupted")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fft"], "op: expected one of advance_frames"),
        (["gemm", "--shape", "1.3b"], "shape: expected one of 1.3b-480x832-1"),
        (["e2e", "--shape", "7b-480x832-2"], "shape: expected one of 1.3b-480x832, 1.3b-512x512, "),
        (["e2e", "gemm"], "bench: e2e stands alone, got e2e gemm"),
        (["gemm", "--passes", "0"], "--passes: expected at least 1, got 0"),
        (["gemm", "--threads", "-1"], "--threads: expected at least 0, got -1"),
        (["--compare", "missing.json", "missing.json"], "missing.json: cannot read the results"),
        (["e2e", "--beside", "missing.json"], "missing.json: cannot read the figures"),
    ],
)
def test_bad_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@no_gpu
def test_a_device_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "gemm", "--device", "cuda"]) == 1
    assert "device cuda: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["tiny-64x96-2", "tiny-64x96-1-sequential-taehv_both-published", "tiny-64x96-1-t2v",
     "tiny-64x96-1-taehv-fp8_attention-throughput"],
)  # fmt: skip
def test_a_stream(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its times add up: the phases to the chunk, the frames to the rate."""
    monkeypatch.setitem(end_to_end._WARM, "cpu", 1)
    monkeypatch.setitem(end_to_end._CHUNKS, "cpu", 3)
    stream = find_stream(name)
    row = measure_stream(stream, Target("cpu", 1), Peaks(1e11, 1e10))
    metrics = {key: entry["value"] for key, entry in row["metrics"].items()}
    low, high = ({key: entry[end] for key, entry in row["metrics"].items()} for end in ("low", "high"))
    frames = 12 if name.endswith("t2v") else 4
    assert list(row["floor_ms"]) == stream.phases
    assert 0 < sum(low[f"{phase}_ms"] for phase in stream.phases) <= high["chunk_p99_ms"]
    assert frames * 1e3 / high["chunk_p99_ms"] <= metrics["fps"] <= frames * 1e3 / low["chunk_p50_ms"]
    assert metrics["chunk_p50_ms"] <= metrics["chunk_p95_ms"] <= metrics["chunk_p99_ms"]
    assert metrics["load_s"] > 0 and metrics["first_frames_s"] > 0
    assert row["graph_replays"] == 0 and row["session_bytes"] > 0


@pytest.mark.parametrize("name", ["tiny-64x96-2-taehv", "tiny-64x96-1-t2v"])
def test_a_cold_start(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process of its own opens what was written, and nothing is left of it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders: list[Path] = []
    write = cold_start.write_engine_directory

    def noting(folder: Path, *parts: Any, **others: Any) -> None:
        write(folder, *parts, **others)
        folders.append(folder)

    monkeypatch.setattr(cold_start, "write_engine_directory", noting)
    begin = time.monotonic()
    seconds = end_to_end.cold_start(find_stream(name), Target("cpu", 1))
    assert 0 < seconds < time.monotonic() - begin
    assert [folder.parent for folder in folders] == [tmp_path] and not list(tmp_path.iterdir())


def test_a_cold_start_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what the process said; figures that were taken before it are kept."""
    stream = find_stream("tiny-64x96-1-t2v")
    monkeypatch.setattr(cold_start, "write_engine_directory", lambda *_, **__: None)
    with pytest.raises(PenstockError, match=r"^cold start: .*plan\.json"):
        end_to_end.cold_start(stream, Target("cpu", 1))
    monkeypatch.setattr(end_to_end, "measure_stream", lambda stream, *_: {"id": stream.name, "metrics": {}})
    found = end_to_end.measure_streams(Target("cpu", 1), [stream.name], 1, None, [], cold_starts=[stream.name])
    assert [row["id"] for row in found.rows] == [stream.name] and "plan.json" in found.skipped[stream.name]


def test_streams_cover_models_modes_and_decoders() -> None:
    found = [STREAMS[name] for names in STANDARD.values() for name in names]
    assert {stream.model for stream in found} == {"wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "tiny"}
    for field, values in {
        "mode": {"stream_batch", "sequential"},
        "decoder": {"wan", "taehv"},
        "encoder": {"wan", "taehv"},
        "source": {"video", "noise"},
        "cache_policy": {"sink", "streamdiffusionv2"},
        "precision": {(), ("fp8_attention",), ("fp8_vae",)},
    }.items():
        assert {getattr(stream.config, field) for stream in found} == values
    assert {stream.schedule for stream in found} == {"latency", "throughput"}
    with pytest.raises(PenstockError, match="expected one of"):
        find_stream("1.3b-480x832-5")
