"""Write the seed corpora of the fuzz targets: DIRECTORY/safetensors and DIRECTORY/plan.

    make_corpus.py DIRECTORY [--plan FILE]...

Each corpus has valid files and files with one defect. The plans are those given by --plan, cut into small valid ones,
for a fuzzer makes little progress on a large input. The same arguments give the same files.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRONG_VALUES = [None, True, -1, 0, 1, 2**31, 2**48 + 1, 2**63 - 1, 2**63, 1.5, -1e300, "", "x", "\0", [], {}, [[]]]
BROKEN_JSON = [
    b"", b" ", b"{", b"[]", b"nul", b'{"a":1,}', b'{"a":1,"a":2}', b'{"a":01}', b'{"a":1e999}', b'{"a":"\\ud800"}',
    b'{"a":"\xff"}', b'{"a":"\n"}', b"\xef\xbb\xbf{}", b'{"a":' * 70 + b"1" + b"}" * 70, b"{}\0", b'{"a":"',
]  # fmt: skip
VARIANTS_PER_PLAN = 12


def safetensors_file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """The bytes of a file; `length` instead of the true header length, `header` as bytes or as JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype: Any, shape: Any, begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_seeds() -> Iterator[bytes]:
    sizes = {"F32": 4, "BF16": 2, "F16": 2, "U8": 1, "I32": 4, "I64": 8, "U64": 8}
    for dtype, size in sizes.items():
        yield safetensors_file({"t": tensor(dtype, [2, 3], 0, 6 * size)}, bytes(range(6 * size)))
    floats = struct.pack("<4f", float("nan"), float("inf"), -0.0, 1e-40)
    # 'b' lies at an odd address; 'c' is a scalar, 'd' is empty.
    whole = {
        "__metadata__": {"format": "pt", "note": "\u00e9\n"},
        "a": tensor("U8", [3], 0, 3),
        "b": tensor("F32", [4], 3, 19),
        "c": tensor("F16", [], 19, 21),
        "d": tensor("BF16", [2, 0], 21, 21),
    }
    data = b"abc" + floats + b"\x01\x7c"
    yield safetensors_file(whole, data)
    yield safetensors_file(json.dumps(whole).encode() + b"   ", data)
    yield safetensors_file({})
    yield safetensors_file(whole, data[:-1])
    yield safetensors_file(whole, data + b"x")
    yield from (safetensors_file(whole, data, length) for length in (0, 7, 10**8 + 1, 2**63, 2**64 - 1))
    yield from (safetensors_file(text) for text in BROKEN_JSON)
    yield from (safetensors_file(broken, data) for broken in one_defect_each(whole, 60))
    yield safetensors_file({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)}, bytes(6))
    yield safetensors_file({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 8, 12)}, bytes(12))
    yield safetensors_file({"a": tensor("F64", [1], 0, 8)}, bytes(8))
    yield safetensors_file({"a": tensor("U8", [2**32, 2**32], 0, 0)})
    yield safetensors_file({"a": tensor("U8", [0, 2**48, 2**48], 0, 0)})
    yield safetensors_file({"a": tensor("U8", [1] * 9, 0, 1)}, b"x")
    yield b"\x02\0\0"


def plan_seeds(plans: list[dict[str, Any]]) -> Iterator[bytes]:
    yield from BROKEN_JSON
    empty = {"format": "penstock-plan", "version": 1, "name": "empty", "scratch_size": 0}
    small = [{**empty, "step_state": [], "tensors": [], "phases": {}}]
    small += [piece for plan in plans for piece in single_op_plans(plan)]
    small += [piece for plan in plans for piece in first_ops_plans(plan, 3)]
    for plan in small:
        yield json.dumps(plan, separators=(",", ":")).encode()
    for plan in small:
        for broken in one_defect_each(plan, VARIANTS_PER_PLAN):
            yield json.dumps(broken, separators=(",", ":")).encode()


def single_op_plans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One plan for each kind of op, alone in its phase. Scratch becomes state, for nothing else would write it."""
    seen = set()
    for ops in plan["phases"].values():
        for op in ops:
            if op["op"] in seen:
                continue
            seen.add(op["op"])
            piece = with_ops(plan, {op["op"]: [op]})
            for record in piece["tensors"]:
                if record["kind"] == "scratch":
                    record["kind"] = "state"
                    record.pop("offset", None)
            yield piece


def first_ops_plans(plan: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    for name, ops in plan["phases"].items():
        yield with_ops(plan, {name: ops[:count]})


def with_ops(plan: dict[str, Any], phases: dict[str, Any]) -> dict[str, Any]:
    """The plan with these phases and only the tensors that they name."""
    calls = [op for ops in phases.values() for op in ops]
    used = {name for op in calls for side in ("inputs", "outputs") for name in op[side].values()}
    used |= {record["base"] for record in plan["tensors"] if record["name"] in used and "base" in record}
    keep = {key: [record for record in plan[key] if record["name"] in used] for key in ("step_state", "tensors")}
    return copy.deepcopy({**plan, **({"config": {}} if "config" in plan else {}), **keep, "phases": phases})


def one_defect_each(document: Any, count: int) -> Iterator[Any]:
    """`count` copies of a JSON document, each with one random change to one value, key or list item."""
    rng = random.Random(0)
    for _ in range(count):
        broken = copy.deepcopy(document)
        places = list(containers(broken))
        container = rng.choice(places)
        key = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
        action = rng.choice(["wrong value", "remove", "add", "move"])
        if action == "wrong value":
            container[key] = rng.choice(WRONG_VALUES)
        elif action == "remove":
            del container[key]
        elif action == "move":
            other = rng.choice(places)
            container[key] = copy.deepcopy(rng.choice(list(other.values()) if isinstance(other, dict) else other))
        elif isinstance(container, dict):
            container["extra"] = copy.deepcopy(container[key])
        else:
            container.append(copy.deepcopy(container[key]))
        yield broken


def containers(value: Any) -> Iterator[Any]:
    """All non-empty objects and lists in a document."""
    if value and isinstance(value, dict | list):
        yield value
        for child in value.values() if isinstance(value, dict) else value:
            yield from containers(child)


def write(directory: Path, seeds: Iterator[bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    for i, seed in enumerate(dict.fromkeys(seeds)):
        (directory / f"{i:05}").write_bytes(seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--plan", type=Path, action="append", default=[], metavar="FILE")
    arguments = parser.parse_args()
    plans = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.plan]
    write(arguments.directory / "safetensors", safetensors_seeds())
    write(arguments.directory / "plan", plan_seeds(plans))


if __name__ == "__main__":
    main()
