"""Describe a plan, an engine directory or a model directory."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from penstock.commands.output import bytes_text, emit
from penstock.models import model_path
from penstock.runtime.errors import PenstockError
from penstock.runtime.model import load_model
from penstock.runtime.model_file import MODEL_FILE
from penstock.runtime.plan import Plan
from penstock.runtime.safetensors_io import TensorCount
from penstock.runtime.scratch import COMPUTE_BYTES, DTYPE_BYTES
from penstock.runtime.text import load_text_spec

HELP = "describe a plan, an engine directory or a model directory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="plan.json, engine directory, model directory, or tiny")
    parser.add_argument("--ops", action="store_true", help="list every op with its tensors")


def run(options: argparse.Namespace) -> None:
    path = model_path(options.path)
    if path.is_dir() and (path / MODEL_FILE).is_file():
        result, text = describe_model(path)
    elif path.is_dir() and (path / "plan.json").is_file():
        result, text = describe_plan(Plan.load(path / "plan.json"), options.ops)
    elif path.is_file():
        result, text = describe_plan(Plan.load(path), options.ops)
    else:
        raise PenstockError(f"{path}: expected a plan, an engine directory or a model directory")
    emit(result, options.json, text)


def describe_model(path: Path) -> tuple[dict[str, Any], str]:
    model, text = load_model(path), load_text_spec(path)
    result: dict[str, Any] = {"model": model.spec.name, "components": {}, "text": text.to_json() if text else None}
    lines = [f"model {model.spec.name}"]
    with model.open_weights() as weights:
        for component, spec in model.spec.components().items():
            infos = [info for key, info in weights.infos.items() if key.startswith(f"{component}.")]
            count, dtypes, fields = TensorCount.of(infos), Counter(info.dtype for info in infos), spec.to_json()
            result["components"][component] = {**count.to_json(), "dtypes": dict(dtypes), **fields}
            stored = ", ".join(f"{number} {dtype}" for dtype, number in dtypes.items())
            rows = {"tensors": f"{count.tensors} ({stored})", "parameters": f"{count.parameters:,}",
                    "size": bytes_text(count.bytes), **fields}  # fmt: skip
            lines += ["", component, *(f"  {key:<12} {value}" for key, value in rows.items())]
        total = TensorCount.of(weights.infos.values())
    result |= total.to_json()
    lines += ["", "text", *(f"  {key:<12} {value}" for key, value in (result["text"] or {"encoder": "none"}).items())]
    lines += ["", f"in all: {total.parameters:,} parameters, {bytes_text(total.bytes)}"]
    return result, "\n".join(lines)


def describe_plan(plan: Plan, with_ops: bool) -> tuple[dict[str, Any], str]:
    plan.validate()
    kinds: dict[str, dict[str, int]] = {}
    for kind in ("weight", "state", "input", "output", "scratch", "view"):
        tensors = plan.of_kind(kind)
        size = 0 if kind == "view" else sum(t.size * DTYPE_BYTES[t.dtype] for t in tensors)
        kinds[kind] = {"tensors": len(tensors), "bytes": size}
    kinds["scratch"]["packed_bytes"] = plan.scratch_size * COMPUTE_BYTES
    lines = [f"plan {plan.name}", "", "tensors        count        bytes (compute = bf16)"]
    lines += [f"  {kind:<10} {row['tensors']:>7} {bytes_text(row['bytes']):>12}" for kind, row in kinds.items()]
    lines[-2] += f", packed into {bytes_text(kinds['scratch']['packed_bytes'])}"
    session = sum(kinds[kind]["bytes"] for kind in ("state", "input", "output")) + kinds["scratch"]["packed_bytes"]
    lines += [f"  one session on a GPU takes {bytes_text(session)} beside the weights", "", "step state"]
    lines += [
        f"  {s.name:<16} {s.dtype:<4} {list(s.shape)!s:<12} init {list(s.init)}" for s in plan.step_state.values()
    ]
    for phase, ops in plan.phases.items():
        counts = Counter(op.op for op in ops)
        lines += ["", f"phase {phase}: {len(ops)} ops"]
        lines += _op_lines(plan, phase) if with_ops else [f"  {count:>5} × {name}" for name, count in counts.items()]
    phases = {phase: dict(Counter(op.op for op in ops)) for phase, ops in plan.phases.items()}
    result = {"plan": plan.name, "config": plan.config, "tensors": kinds, "session_bytes": session,
              "phases": phases}  # fmt: skip
    return result, "\n".join(lines)


def _op_lines(plan: Plan, phase: str) -> list[str]:
    lines = []
    for index, op in enumerate(plan.phases[phase]):
        lines.append(f"  [{index}] {op.op}  {' '.join(f'{key}={value}' for key, value in op.attributes.items())}")
        for arrow, roles in (("<-", op.inputs), ("->", op.outputs)):
            for role, name in roles.items():
                tensor = plan.tensor(name)
                lines.append(f"        {arrow} {role:<14} {name} {list(tensor.shape)} {tensor.dtype} {tensor.kind}")
    return lines
