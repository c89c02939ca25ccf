"""What compiled kernels take of a multiprocessor, read from their cubins, and the recorded limits.

python -m tests.compile.resources        compiles for sm_90a and records; review the difference of resources.json
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import triton
from safetensors import safe_open

RECORD = Path(__file__).with_name("resources.json")
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
# Waits for tensor cores: as many as there are HGMMA tell that ptxas could not let them overlap.
WAIT = "WARPGROUP.DEPBAR"


class Compiled(NamedTuple):
    entry: dict[str, Any]
    cubin: bytes

    @property
    def title(self) -> str:
        """The kernel and its constants: what the engine finds it by."""
        return " ".join([self.entry["name"], *(f"{name}={value}" for name, value in self.entry["constants"].items())])


def compile_kernels(path: Path, *options: str) -> list[Compiled]:
    """Runs the command that compiles the kernels, in a process of its own, as pytest's has the interpreter on."""
    jobs = str(min(os.cpu_count() or 1, 8))
    command = [sys.executable, "-m", "penstock.kernels.aot", "-o", str(path), "--jobs", jobs, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with safe_open(path, "np") as file:
        manifest = json.loads(file.get_tensor("manifest").tobytes())
        assert manifest["format"] == 1
        return [Compiled(entry, file.get_tensor(entry["tensor"]).tobytes()) for entry in manifest["kernels"]]


def resources(kernel: Compiled) -> dict[str, int]:
    """What a launch takes, and how often the instructions occur that the kernel needs for sm_90a.

    Stack 0 also says that nothing is spilled. Disassembling takes half a second: only where the code is looked at.
    """
    usage = _cuobjdump("--dump-resource-usage", kernel)
    needs = [*kernel.entry["needs"], WAIT] if kernel.entry["needs"] and kernel.entry["arch"] == "sm_90a" else []
    sass = disassemble(kernel) if needs else ""
    assert f"Function {kernel.entry['symbol']}:" in usage
    return {
        "registers": int(re.search(r"REG:(\d+)", usage)[1]),
        "stack": int(re.search(r"STACK:(\d+)", usage)[1]),
        "shared": kernel.entry["shared"],
        "warps": kernel.entry["warps"],
        **{need: len(re.findall(rf"\b{re.escape(need)}\b", sass)) for need in needs},
    }


def disassemble(kernel: Compiled) -> str:
    return _cuobjdump("-sass", kernel)


def _cuobjdump(option: str, kernel: Compiled) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.cubin)
        file.flush()
        return subprocess.run([CUOBJDUMP, option, file.name], check=True, capture_output=True, text=True).stdout


def table(rows: dict[str, dict[str, int]]) -> str:
    """Kernels by title and what they take, for people."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    width = max(map(len, rows))
    lines = [" ".join([f"{'kernel':{width}}", *columns])]
    for title, row in rows.items():
        lines.append(" ".join([f"{title:{width}}", *(f"{row.get(name, '-'):>{len(name)}}" for name in columns)]))
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {kernel.title: resources(kernel) for kernel in compile_kernels(Path(folder) / "kernels.safetensors")}
    rows = ",\n".join(f"  {json.dumps(title)}: {json.dumps(row)}" for title, row in sorted(found.items()))
    RECORD.write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
