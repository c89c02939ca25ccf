"""Malformed engine directories: one clear message each, never a crash."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.engine import Engine
from penstock.runtime.errors import PenstockError
from penstock.runtime.synth import synth


@pytest.fixture(scope="module")
def good_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    synth("tiny", folder / "model")
    build(folder / "model", folder / "engine", Config(height=32, width=32, steps=1, sink_threshold=-1.0))
    return folder / "engine"


@pytest.fixture
def engine_dir(good_engine: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    for name in ("plan.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((good_engine / name).read_bytes())
    return tmp_path


def fails(engine_dir: Path, pattern: str) -> str:
    with pytest.raises(PenstockError, match=pattern) as caught:
        Engine.open(engine_dir, device="cpu")
    return str(caught.value)


def rewrite_header(path: Path, change: Callable[[dict], None]) -> None:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def rewrite_plan(engine_dir: Path, change: Callable[[dict], None]) -> None:
    path = engine_dir / "plan.json"
    plan = json.loads(path.read_text())
    change(plan)
    path.write_text(json.dumps(plan))


def tensor(plan: dict, name: str) -> dict:
    return next(t for t in plan["tensors"] if t["name"] == name)


# ---- weights.safetensors


WEIGHT = "dit.head.head.weight"


def test_missing_files(tmp_path: Path) -> None:
    fails(tmp_path / "nowhere", "nowhere/plan.json")


@pytest.mark.parametrize("size", [0, 7, 8, 100, 5000, -1])
def test_truncated_weights(engine_dir: Path, size: int) -> None:
    path = engine_dir / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    fails(engine_dir, "weights.safetensors")


def test_header_longer_than_the_file(engine_dir: Path) -> None:
    path = engine_dir / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + path.read_bytes()[8:])
    fails(engine_dir, "weights.safetensors.*header")


def test_header_that_is_not_json(engine_dir: Path) -> None:
    path = engine_dir / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", 4) + b"{]}{" + b"\0" * 64)
    fails(engine_dir, "weights.safetensors.*line 1")


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda h: h[WEIGHT].update(data_offsets=h["rope"]["data_offsets"]), WEIGHT),
        (lambda h: h[WEIGHT].update(data_offsets=[x - 2 for x in h[WEIGHT]["data_offsets"]]), "overlap|hole|gap"),
        (lambda h: h[WEIGHT].update(data_offsets=[x + 2**40 for x in h[WEIGHT]["data_offsets"]]), WEIGHT),
        (lambda h: h[WEIGHT].update(data_offsets=[8, 4]), WEIGHT),
        (lambda h: h[WEIGHT].update(data_offsets=[-4, 4]), WEIGHT),
        (lambda h: h[WEIGHT].update(shape=[2**40, 2**40]), WEIGHT),
        (lambda h: h[WEIGHT].update(shape=[-1, 3]), WEIGHT),
        (lambda h: h[WEIGHT].update(dtype="F8"), f"{WEIGHT}.*F8"),
        (lambda h: h[WEIGHT].pop("shape"), f"{WEIGHT}.*shape"),
        (lambda h: h.update({WEIGHT: 7}), WEIGHT),
    ],
)
def test_broken_entries(engine_dir: Path, change: Callable[[dict], None], pattern: str) -> None:
    rewrite_header(engine_dir / "weights.safetensors", change)
    fails(engine_dir, pattern)


def test_wrong_shape_names_tensor_expected_and_got(engine_dir: Path) -> None:
    rewrite_header(engine_dir / "weights.safetensors", lambda h: h[WEIGHT].update(shape=[256, 64]))
    fails(engine_dir, re.escape(f"weight '{WEIGHT}': expected [64, 256] f32, bf16 or f16, got [256, 64] bf16"))


def test_wrong_dtype_names_tensor_expected_and_got(engine_dir: Path) -> None:
    def change(header: dict) -> None:
        header[WEIGHT].update(dtype="I32", shape=[64, 128])

    rewrite_header(engine_dir / "weights.safetensors", change)
    fails(engine_dir, re.escape(f"weight '{WEIGHT}': expected [64, 256] f32, got [64, 128] i32"))


def test_all_missing_weights_are_listed_up_to_twenty(engine_dir: Path) -> None:
    def change(plan: dict) -> None:
        for i in range(30):
            plan["tensors"].append({"name": f"extra.{i}", "kind": "weight", "dtype": "compute", "shape": [3, i + 1]})

    rewrite_plan(engine_dir, change)
    lines = fails(engine_dir, "missing weights").splitlines()
    assert len(lines) == 22 and "(30)" in lines[0] and lines[-1].strip() == "... and 10 more"
    assert lines[1].strip() == "'extra.0' [3, 1]"


def test_unexpected_weights_are_listed(engine_dir: Path) -> None:
    rewrite_header(engine_dir / "weights.safetensors", lambda h: h.update({"stranger": h.pop(WEIGHT)}))
    assert "'stranger' [64, 256]" in fails(engine_dir, "unexpected weights")


# ---- plan.json


def step(plan: dict, name: str) -> dict:
    return next(field for field in plan["step_state"] if field["name"] == name)


def first_op(plan: dict, op: str, phase: str = "denoise") -> dict:
    return next(o for o in plan["phases"][phase] if o["op"] == op)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda p: p.update(format="other"), "format"),
        (lambda p: p.update(version=2), "version"),
        (lambda p: p.pop("phases"), "phases"),
        (lambda p: p.update(surprise=1), "surprise"),
        (lambda p: tensor(p, "x").update(dtype="f128"), "f128"),
        (lambda p: tensor(p, "x").update(shape=[0, 2]), "shape"),
        (lambda p: tensor(p, "x").update(shape=[2**40, 2**40]), "shape"),
        (lambda p: tensor(p, "x").update(kind="weigth"), "weigth"),
        (lambda p: p["tensors"].append(dict(tensor(p, "x"))), "'x' twice"),
        (lambda p: p.update(scratch_size=40000), "leaves the scratch arena|offset"),
        (lambda p: p["step_state"][0].update(init=[1, 2, 3]), "init"),
        (lambda p: step(p, "chunk").update(init=[0.5]), "integer"),
        (lambda p: first_op(p, "gemm").update(op="gem"), r"denoise\[\d+\].*unknown op 'gem'"),
        (lambda p: first_op(p, "gemm")["inputs"].pop("weight"), r"denoise\[\d+\].*weight.*missing"),
        (lambda p: first_op(p, "gemm")["inputs"].update(weigth="rope"), "weigth"),
        (lambda p: first_op(p, "gemm")["inputs"].update(weight="nothing"), "'nothing'"),
        (lambda p: first_op(p, "gemm")["inputs"].update(weight="rope"), r"gemm\).*weight 'rope': expected"),
        (lambda p: first_op(p, "gemm")["attributes"].update(activation="relu"), "relu"),
        (lambda p: first_op(p, "gemm")["attributes"].update(speed=3), "speed"),
        (lambda p: first_op(p, "rolling_attention")["attributes"].update(frame_tokens=0), "frame_tokens"),
        (lambda p: first_op(p, "rolling_attention")["attributes"].update(frame_tokens=5), "expected"),
    ],
)
def test_broken_plans(engine_dir: Path, change: Callable[[dict], None], pattern: str) -> None:
    rewrite_plan(engine_dir, change)
    fails(engine_dir, pattern)


def test_cyclic_plan(engine_dir: Path) -> None:
    rewrite_plan(engine_dir, lambda p: p["phases"]["denoise"].insert(0, p["phases"]["denoise"].pop()))
    fails(engine_dir, r"denoise\[0\] \(renoise\): reads 'flow' before op \d+ writes it")


def test_unbound_tensor(engine_dir: Path) -> None:
    rewrite_plan(engine_dir, lambda p: p["phases"]["denoise"].remove(first_op(p, "unpatchify")))
    fails(engine_dir, r"\(renoise\): reads unbound tensor 'flow'")


def test_writing_a_weight(engine_dir: Path) -> None:
    def change(plan: dict) -> None:
        tensor(plan, first_op(plan, "gemm")["outputs"]["y"]).update(kind="weight")
        tensor(plan, first_op(plan, "gemm")["outputs"]["y"]).pop("offset")

    rewrite_plan(engine_dir, change)
    fails(engine_dir, "which is a weight")


def test_scratch_tensors_that_share_memory(engine_dir: Path) -> None:
    def change(plan: dict) -> None:
        norm = first_op(plan, "layernorm_modulate")
        tensor(plan, norm["outputs"]["y"])["offset"] = tensor(plan, norm["inputs"]["x"])["offset"]

    rewrite_plan(engine_dir, change)
    fails(engine_dir, "alive at the same time and share memory")


def test_aliased_roles(engine_dir: Path) -> None:
    def change(plan: dict) -> None:
        norm = first_op(plan, "layernorm_modulate")
        norm["outputs"]["y"] = norm["inputs"]["x"]

    rewrite_plan(engine_dir, change)
    fails(engine_dir, "roles x and y share memory")


def test_view_outside_its_base(engine_dir: Path) -> None:
    def change(plan: dict) -> None:
        view = next(t for t in plan["tensors"] if t["kind"] == "view")
        base = next(t for t in plan["tensors"] + plan["step_state"] if t["name"] == view["base"])
        view["offset"] = math.prod(base["shape"]) - 1

    rewrite_plan(engine_dir, change)
    fails(engine_dir, "leaves its base")


# ---- step state written by a host


@pytest.mark.parametrize(("field", "value"), [("ring_write", 99), ("ring_write", -1), ("ring_length", 99),
                                              ("frame_position", 5000), ("prompt_length", 10**6)])  # fmt: skip
def test_bad_step_state_is_an_error_not_a_crash(engine_dir: Path, field: str, value: int) -> None:
    """ring_advance rewrites the ring fields, so a phase without it stands for a host that drives them itself."""

    def change(plan: dict) -> None:
        plan["phases"]["denoise"] = [op for op in plan["phases"]["denoise"] if op["op"] != "ring_advance"]

    rewrite_plan(engine_dir, change)
    session = Engine.open(engine_dir, device="cpu").session()
    shape = session.engine.tensor_info(field).shape
    session.write("ring_length", [[1]] * 6)
    session.run("denoise")
    session.write(field, [[value]] * shape[0] if len(shape) == 2 else [value] * shape[0])
    with pytest.raises(PenstockError, match=field):
        session.run("denoise")
