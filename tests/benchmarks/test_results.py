"""Result files: written, read, compared and turned into the page; and what damaged or foreign ones do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from penstock.benchmarks import machine
from penstock.benchmarks.compare import compare, comparison_text
from penstock.benchmarks.conv_layers import layer_table
from penstock.benchmarks.published import Published
from penstock.benchmarks.report import write_report
from penstock.benchmarks.results import Results, merge_passes
from penstock.benchmarks.tables import op_cells, results_text, stream_table
from penstock.benchmarks.timing import Measure
from penstock.runtime.errors import PenstockError

PEAKS = {"copy_bytes_per_s": Measure(3e12, 3e12, 3e12, 7).to_json(),
         "matrix_flop_per_s": Measure(8e14, 8e14, 8e14, 7).to_json()}  # fmt: skip
MACHINE = {"gpu": "GPU A", "cpu": "CPU A", "commit": "0123456789ab", "driver": "580", "threads": 2, "load": 0.1,
           "blas": "none"}  # fmt: skip


def op_row(implementation: str, us: float, noise: float = 0.005, op: str = "gemm", **fields: Any) -> dict[str, Any]:
    labels = {"op": op, "shape": "1.3b-480x832-2", "call": "3120x1536", "implementation": implementation}
    measure = Measure(us, us * (1 - noise), us * (1 + noise), 20)
    return {"id": "/".join(labels.values()), "kind": "op", **labels, "ours": implementation in ("cuda", "library"),
            "count": 30, "flops": 8e10, "matrix_flops": 8e10, "bytes": 1e8, "floor_us": 100.0, "relative_l2": 1e-3,
            "repeats": 4, "metrics": {"us": measure.to_json()}} | fields  # fmt: skip


def stream_row(name: str, fps: float) -> dict[str, Any]:
    values = {"fps": fps, "encode_ms": 15.0, "denoise_ms": 25.0, "decode_ms": 30.0, "chunk_p50_ms": 70.0,
              "chunk_p99_ms": 72.0, "first_frames_s": 0.1, "cold_start_s": 4.0, "memory_bytes": 2**33}  # fmt: skip
    metrics = {key: Measure(value, value * 0.99, value * 1.01, 30).to_json() for key, value in values.items()}
    floors = {"encode": 10.0, "denoise": 19.0, "decode": 17.0}
    return {"id": name, "kind": "stream", "floor_ms": floors, "metrics": metrics}


def run_of(*rows: dict[str, Any], device: str = "cuda", set: str = "ops", **changes: Any) -> Results:
    return Results(set, device, {**MACHINE, **changes}, list(rows), 2, {"sm_mhz": [1700, 1980]}, ["a note"], PEAKS,
                   {"flash3": "flash-attn-3 is not installed"})  # fmt: skip


def test_a_file_is_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ops.json"
    run = run_of(op_row("library", 125.0))
    run.save(path)
    assert Results.load(path) == run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "expected a result file"),
        ({"version": 2}, "expected a result file"),
        ({"surprise": 1}, "malformed result file: TypeError"),
        ({"machine": []}, "malformed result file: AttributeError"),
        ({"rows": [{"metrics": {}}]}, "malformed result file: KeyError: 'id'"),
        ({"rows": [{"id": "a"}]}, "malformed result file: KeyError: 'metrics'"),
        ({"rows": [{"id": "a", "metrics": {"us": {"value": 1}}}]}, "malformed result file: KeyError: 'low'"),
    ],
)
def test_damaged_files(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "ops.json"
    path.write_text(json.dumps(run_of(op_row("library", 125.0)).to_json() | change))
    with pytest.raises(PenstockError, match=message):
        Results.load(path)
    path.write_text("{")
    with pytest.raises(PenstockError, match=r"ops\.json: expected UTF-8 JSON"):
        Results.load(path)


def test_derived_figures() -> None:
    """8e10 FLOPs and 1e8 bytes in 125 us: 640 TFLOP/s, 80 % of the floor of 100 us, 1.2 x the best library's 150 us."""
    rows = [op_row("library", 125.0), op_row("eager", 200.0), op_row("cublaslt", 150.0), op_row("eager", 90.0, op="x")]
    cells = op_cells(run_of(*rows))
    assert cells[0][3:] == ("125", "0.5%", "640 TFLOP/s", "80", "1.20")
    assert cells[1][3:] == ("200", "0.5%", "400 TFLOP/s", "50", "")
    bound = op_row("cuda", 50.0, matrix_flops=0.0, bytes=1.2e8)
    assert op_cells(run_of(bound))[0][5] == "2.4e+03 GB/s"


def test_another_program_beside() -> None:
    found = run_of(stream_row("1.3b-480x832-2", 54.0), stream_row("other", 1.0), set="end_to_end")
    headers, cells = stream_table(found, Published("P", "one H100", "paper", {"1.3b-480x832-2": 18.0}))
    assert headers[-1] == "× P, one H100 (FPS)"
    assert [row[-1] for row in cells] == ["3.00 (18)", ""]
    assert cells[0][3:5] == ("15 + 25 + 30 ms", "66")


def test_published_file(tmp_path: Path) -> None:
    shipped = Published.load(Path(machine.__file__).parent / "results" / "published_h100.json")
    assert shipped.fps["1.3b-480x832-2"] == 17.97
    path = tmp_path / "other.json"
    for text in ("[]", '{"program": "P"}', '{"program": "P", "machine": "", "source": "", "fps": {"a": -1}}'):
        path.write_text(text)
        with pytest.raises(PenstockError, match=r"other\.json: .*expected"):
            Published.load(path)


def test_equal_code_flags_nothing_and_a_change_is_flagged() -> None:
    rng = np.random.default_rng()
    before, after = (
        run_of(*(op_row("cuda", 100.0 * rng.normal(1, 0.004), 0.008, op=f"op{i}") for i in range(200)))
        for _ in range(2)
    )
    assert not [change for change in compare(before, after) if change.flagged]
    after.rows[7] = op_row("cuda", 110.0, 0.008, op="op7")
    flagged = [change for change in compare(before, after) if change.flagged]
    assert [change.id for change in flagged] == [after.rows[7]["id"]]
    assert not flagged[0].better
    text = comparison_text(before, after)
    assert text.startswith("WORSE") and "1 of 200 metrics changed beyond the noise" in text


def test_noisy_metrics_must_change_by_more() -> None:
    before, after = run_of(op_row("cuda", 100.0, 0.2)), run_of(op_row("cuda", 150.0, 0.2))
    assert not compare(before, after)[0].flagged
    assert compare(run_of(op_row("cuda", 100.0)), run_of(op_row("cuda", 150.0)))[0].flagged


def test_more_frames_a_second_is_better() -> None:
    before, after = (run_of(stream_row("s", fps), set="end_to_end") for fps in (50.0, 60.0))
    change = next(change for change in compare(before, after) if change.metric == "fps")
    assert change.flagged and change.better


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (run_of(op_row("cuda", 1.0)), run_of(op_row("cuda", 1.0), gpu="GPU B"), "GPU A against GPU B"),
        (
            run_of(op_row("cpu", 1.0), device="cpu"),
            run_of(op_row("cpu", 1.0), device="cpu", cpu="B"),
            "CPU A against B",
        ),
        (run_of(op_row("cuda", 1.0)), run_of(op_row("cpu", 1.0), device="cpu"), "device 'cuda' against 'cpu'"),
        (run_of(op_row("cuda", 1.0)), run_of(stream_row("s", 1.0), set="end_to_end"), "set 'ops' against 'end_to_end'"),
        (run_of(op_row("cuda", 1.0)), run_of(op_row("cuda", 1.0, op="x")), "no row in common"),
    ],
)
def test_only_like_is_compared(before: Results, after: Results, message: str) -> None:
    with pytest.raises(PenstockError, match=message):
        compare(before, after)


def test_passes_are_merged_by_row() -> None:
    merged = merge_passes([[op_row("cuda", 100.0), op_row("eager", 9.0)], [op_row("cuda", 110.0)]])
    assert [row["implementation"] for row in merged] == ["cuda"]
    assert merged[0]["metrics"]["us"] == pytest.approx({"value": 105.0, "low": 99.5, "high": 110.55, "rounds": 40})


def test_the_page(tmp_path: Path) -> None:
    """Only the marked parts change; a second run changes nothing; the charts are well-formed and show every row."""
    run_of(op_row("library", 125.0), op_row("cublaslt", 150.0)).save(tmp_path / "ops_cuda.json")
    run_of(op_row("library", 125.5), op_row("cublaslt", 151.0)).save(tmp_path / "ops_again.json")
    run_of(stream_row("1.3b-480x832-2", 54.0), set="end_to_end").save(tmp_path / "streams.json")
    published = {"program": "P", "machine": "M", "source": "S", "fps": {"1.3b-480x832-2": 18}}
    (tmp_path / "other.json").write_text(json.dumps(published))
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    marks = ("ops_cuda", "streams beside other", "noise ops_cuda ops_again", "layers wan-480x832 ops_cuda")
    page.write_text("# Prose\n" + "".join(f"<!-- generated: {mark} -->\nwas\n<!-- end -->\nprose\n" for mark in marks))
    written = write_report(tmp_path, page)
    text = page.read_text()
    assert text.startswith("# Prose\n") and "\nwas\n" not in text and text.count("\nprose\n") == 4
    assert "| gemm | 1.3b-480x832-2 3120x1536 | library | 125 | 0.5% | 640 TFLOP/s | 80 | 1.20 |" in text
    assert "| 3.00 (18) |" in text and "0 of 2 metrics changed beyond the noise" in text
    assert "flash3: flash-attn-3 is not installed" in text and "a note" in text
    charts = {path.name: path for path in written if path.suffix == ".svg"}
    assert charts.keys() == {"ops_cuda_time.svg", "ops_cuda_roofline.svg", "streams_time.svg"}
    assert all(f"]({name})" in text for name in charts)
    bars, roofline = (
        ElementTree.parse(charts[name]).getroot() for name in ("streams_time.svg", "ops_cuda_roofline.svg")
    )
    widths = [float(rect.get("width")) for rect in bars.iterfind(".//{*}rect") if rect.get("height") in ("14", "7")]
    assert np.allclose(np.array(widths) / widths[0], np.array([15, 25, 30, 10, 19, 17]) / 15, rtol=0.01)
    assert len(list(roofline.iterfind(".//{*}circle"))) == 2
    write_report(tmp_path, page)
    assert page.read_text() == text


def test_the_table_of_convolutions(tmp_path: Path) -> None:
    """96 to 96 at 480x832, frame by frame: 2 480 832 96 96 27 FLOPs; two more frames read than the one that is written;
    10 x 104 boxes of 48 x 8, of the 132 multiprocessors' 8 waves 1040 / 1056. A time only where one was measured."""
    row = "| 1x480x832, 96 to 96, 3x3x3, norm | 20 | 198.7 | 307 | 251.6 | 96 x 48 x 8 | 1040 | 98 % | "
    assert row + " |  |" in layer_table("wan-480x832", tmp_path / "ops_cuda.json").splitlines()
    call = "3x480x832x96->3x480x832x96 kernel=3x3x3 activation=silu +x_frame +y_frame"
    measured = op_row("cuda", 503.2) | {"op": "causal_conv3d", "shape": "wan-480x832", "call": call}
    run_of(measured).save(tmp_path / "ops_cuda.json")
    table = layer_table("wan-480x832", tmp_path / "ops_cuda.json").splitlines()
    assert row + "503.2 | 50 |" in table and sum(line.endswith("|  |  |") for line in table) == len(table) - 5


def test_a_page_without_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Prose\n")
    with pytest.raises(PenstockError, match="found none"):
        write_report(tmp_path, page)


def test_text_names_machine_and_skipped() -> None:
    text = results_text(run_of(op_row("library", 125.0)))
    for line in ("on          GPU A, commit 0123456789ab, 2 passes", "driver      580", "'sm_mhz': [1700, 1980]",
                 "copy 3e+03 GB/s, matrix products 800 TFLOP/s",
                 "skipped     flash3: flash-attn-3 is not installed"):  # fmt: skip
        assert line in text


def test_clocks_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for nvidia-smi; and without one nothing happens."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "1980, 2619, 41, 120.5"\necho "1725, 2619, 60, [N/A]"\nexec sleep 60\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with machine.ClockMonitor() as monitor:
        while monitor.seen.get("celsius") != [41, 60]:
            time.sleep(0.01)
    seen = {"sm_mhz": [1725, 1980], "memory_mhz": [2619, 2619], "celsius": [41, 60], "watt": [120.5, 120.5]}
    assert monitor.seen == seen
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with machine.ClockMonitor() as monitor:
        pass
    assert monitor.seen == {}


def test_a_copy_of_a_checkout_is_told_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_REPOSITORY", tmp_path)
    monkeypatch.delenv("PENSTOCK_COMMIT", raising=False)
    assert machine.commit() is None
    monkeypatch.setenv("PENSTOCK_COMMIT", "0123456789ab")
    assert machine.commit() == "0123456789ab"
