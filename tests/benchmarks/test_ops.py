"""Every op's benchmark on the CPU: its implementations and baselines agree, and its kernel takes its calls."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from penstock.benchmarks import variants
from penstock.benchmarks.cost import Call, Cost, Peaks
from penstock.benchmarks.op_benchmark import find_op, known_ops, random_arrays
from penstock.benchmarks.peaks import MeasuredPeaks
from penstock.benchmarks.run_ops import CallBenchmark, Skipped, by_importance, label, measure_op
from penstock.benchmarks.shapes import SHAPES, STANDARD, find_shape
from penstock.benchmarks.timing import Measure
from penstock.benchmarks.variants import CACHE_BYTES, Rotation, Target, launching
from penstock.runtime.engine import query_system
from penstock.runtime.errors import PenstockError

CPU, PEAKS = Target("cpu", 1), Peaks(1e11, 1e10)
TINY = {"dit": "tiny-64x96-2", "coder": "tiny-wan-64x96"}
MEASURED = MeasuredPeaks(Measure(1e10, 1e10, 1e10, 1), Measure(1e11, 1e11, 1e11, 1))


def calls_of(op: str, shape: str | None = None) -> list[Call]:
    benchmark = find_op(op)
    found = find_shape(shape or TINY[benchmark.kind]).calls(op, benchmark.settings, 4)
    return [call for call, _ in found]


@pytest.mark.parametrize("op", known_ops())
def test_all_variants_agree(op: str) -> None:
    """Of every distinct call that the plan makes, and of some in 8-bit floats."""
    coded = calls_of(op, "tiny-wan-64x96-fp8_vae") if find_op(op).kind == "coder" else []
    for call in [*calls_of(op), *[call for call in coded if {"y_scale", "sum_scale"} & call.shapes.keys()][:5]]:
        skipped = Skipped()
        made = CallBenchmark(find_op(op), call, CPU, PEAKS, skipped)
        needing_more = {"triton, cuda, library", "sdpa-flash", "sdpa-cudnn", "cublaslt", "flash3", "flashinfer"}
        assert skipped.reasons.keys() <= needing_more
        assert made.variants.keys() == {"cpu", *find_op(op).baselines} - needing_more
        assert all(variant.sample() >= 0 for variant in made.variants.values())


def test_a_wrong_variant_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    call = calls_of("rms_norm")[0]
    right = variants.EngineVariant.result
    monkeypatch.setattr(variants.EngineVariant, "result", lambda self: {"y": right(self)["y"] * np.float32(1.001)})
    skipped = Skipped()
    made = CallBenchmark(find_op("rms_norm"), call, CPU, PEAKS, skipped)
    assert made.variants.keys() == {"eager"}
    assert skipped.reasons[f"cpu of rms_norm {label(call)}"] == "wrong: relative L2 1.0e-03 from eager, at most 1e-04"


def test_a_variant_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(**_: object) -> Callable:
        raise RuntimeError("no kernel for this head size\nsecond line")

    monkeypatch.setitem(find_op("rms_norm").baselines, "eager", failing)  # type: ignore[arg-type]
    call, skipped = calls_of("rms_norm")[0], Skipped()
    assert CallBenchmark(find_op("rms_norm"), call, CPU, PEAKS, skipped).variants.keys() == {"cpu"}
    assert skipped.reasons[f"eager of rms_norm {label(call)}"] == "no kernel for this head size"


@pytest.mark.parametrize("op", known_ops())
def test_launching_functions_take_every_call(op: str) -> None:
    """The kernels in kernels/<op>.py, at the real shapes; only gemm has none."""
    shape = "1.3b-480x832-2" if find_op(op).kind == "dit" else "taehv-480x832"
    for call in [*calls_of(op), *calls_of(op, shape)]:
        if op == "gemm":
            with pytest.raises(PenstockError, match="gemm has no Triton kernel"):
                launching(call)
            continue
        run = launching(call)(dict.fromkeys(call.shapes)).__closure__
        partial = next(cell.cell_contents for cell in run or () if hasattr(cell.cell_contents, "func"))
        inspect.signature(partial.func).bind(*partial.args, **partial.keywords)


def test_rows(tmp_path: Path) -> None:
    skipped = Skipped()
    rows = measure_op(find_op("gemm"), find_shape("tiny-64x96-2"), CPU, MEASURED, skipped, most=2, seconds=0.0)
    assert [row["implementation"] for row in rows] == ["cpu", "eager"] * 2
    assert len({row["id"] for row in rows}) == 4
    for row in rows:
        assert row["matrix_flops"] == 2 * 48 * 256 * 1024
        assert row["floor_us"] == pytest.approx(max(row["flops"] / 1e5, row["bytes"] / 1e4))
        assert 0 < row["metrics"]["us"]["low"] <= row["metrics"]["us"]["value"] <= row["metrics"]["us"]["high"]
        assert row["relative_l2"] < 1e-6
    json.dumps(rows)


def test_important_jobs_come_first() -> None:
    """All ops at the first shape of their kind before the second, and what takes longest first."""
    shapes = {"dit": ["tiny-64x96-2", "tiny-64x96-1"], "coder": ["tiny-wan-64x96", "tiny-taehv-64x96"]}
    jobs = [(find_op(op), find_shape(name)) for op in known_ops() for name in shapes[find_op(op).kind]]
    order = [(benchmark.op, shape.name) for benchmark, shape in by_importance(jobs, CPU, PEAKS)]
    assert sorted(order) == sorted((benchmark.op, shape.name) for benchmark, shape in jobs)
    assert order[0] == ("causal_conv3d", "tiny-wan-64x96")
    assert {name for _, name in order[: len(known_ops())]} == {"tiny-64x96-2", "tiny-wan-64x96"}
    assert order.index(("gemm", "tiny-64x96-2")) < order.index(("patchify", "tiny-64x96-2"))


def test_ids_are_unique() -> None:
    """At every shape that is measured by default, on either device."""
    for op in known_ops():
        benchmark = find_op(op)
        for (kind, _), shapes in STANDARD.items():
            for shape in shapes if kind == benchmark.kind else ():
                labels = [label(call) for call in calls_of(op, shape)]
                assert len(set(labels)) == len(labels), (op, shape)


def test_values_are_the_same_in_every_dtype() -> None:
    arrays = random_arrays(find_op("gemm"), calls_of("gemm")[0])
    assert all(np.all(array.view(np.uint32) & 0xFFFF == 0) for array in arrays.values())
    assert arrays["x"].std() == pytest.approx(1, rel=0.05)
    assert arrays["weight"].std() == pytest.approx(arrays["weight"].shape[1] ** -0.5, rel=0.05)
    assert not np.array_equal(arrays["x"].flat[:64], arrays["weight"].flat[:64])


def test_rotation_exceeds_the_cache() -> None:
    shapes = {"x": (1 << 20,), "y": (1 << 20,)}
    call = Call("copy", shapes, dict.fromkeys(shapes, "f32"), {})
    for device, cost in (("cuda", Cost(0, 8 << 20)), ("cpu", Cost(0, 8 << 20))):
        rotation = Rotation.of(cost, call, Peaks(1e15, 3e12), device)
        assert rotation.sets * (8 << 20) >= 2 * CACHE_BYTES[device]
        assert rotation.repeats % rotation.sets == 0
    long = Rotation.of(Cost(1e15, 0, 1e15), call, Peaks(1e15, 3e12), "cuda")
    assert long.repeats == long.sets


def test_shapes() -> None:
    for name in ("1.3b-480x832-1", "14b-720x1280-4-c21", "wan-512x512", "taehv-720x1280", "tiny-64x96-2"):
        assert SHAPES[name].name == name
    gemms = find_shape("1.3b-480x832-2").calls("gemm", {"sink_threshold": -1.0}, 2)
    # Patch embedding, qkv, o and q and o, FFN up, FFN down, head.
    counted = {(call.shapes["x"], call.shapes["weight"]): count for call, count in gemms}
    assert len(counted) == 6
    assert counted[(3120, 1536), (1536, 1536)] == 90
    assert counted[(3120, 1536), (8960, 1536)] == counted[(3120, 8960), (1536, 8960)] == 30
    rolling = find_shape("14b-512x512-3-c21").calls("rolling_attention", {"sink_threshold": -1.0}, 2)
    assert [(call.shapes["k_cache"], count) for call, count in rolling] == [((3, 21 * 1024, 40, 128), 40)]


def test_unknown_names() -> None:
    with pytest.raises(PenstockError, match=r"op: expected one of advance_frames, cache_write, .*, got 'fft'"):
        find_op("fft")
    with pytest.raises(PenstockError, match=r"shape: expected one of 1.3b-480x832-1, .*, got '1.3b'"):
        find_shape("1.3b")


@pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")
def test_the_engine_has_every_call_on_the_device(mock_driver: Path, run_with_driver: Callable) -> None:
    """Over a driver that computes nothing: plans of one op find their kernels, take bf16 data and are replayed."""
    result = run_with_driver(str(Path(__file__).with_name("ops_on_mock.py")))
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert seen.keys() == set(known_ops()) and all(repeats > 0 for repeats in seen.values())
