"""From an engine directory to the first frame out, in a process that has just begun, as a host's does.

The files have just been written, so they are in the page cache. On a GPU this is the first opening, which measures
cuBLASLt's algorithms (2 s at most) and stores them; a later one does not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from penstock.runtime.build import write_engine_directory
from penstock.runtime.engine import Engine
from penstock.runtime.errors import PenstockError
from penstock.runtime.pack import PackedWeight
from penstock.runtime.plan import Plan
from penstock.runtime.prompt import PROMPT_FILE, Prompt, read_prompt


def measure_cold_start(
    plan: Plan, weights: Iterable[PackedWeight], prompt: Prompt, device: str, threads: int, schedule: str
) -> float:
    """Seconds from the start of a Python process to the first frames out, for an engine directory of these parts.

    Raises PenstockError with the process's last line where it fails, or where the directory cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-engine-") as folder:
        write_engine_directory(Path(folder), plan, weights, prompt=prompt)
        start = time.monotonic()  # the same clock in all processes
        command = [sys.executable, "-m", __spec__.name, folder, device, str(threads), schedule]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise PenstockError(f"cold start: {(ran.stderr.strip().splitlines() or ['no output'])[-1]}")
    return float(ran.stdout) - start


def run_to_first_output(folder: Path, device: str, threads: int, schedule: str) -> None:
    """Opens the engine directory, sets its prompt, and feeds frames until some are finished."""
    engine = Engine.open(folder, device, threads, schedule=schedule)
    session = engine.session()
    session.set_prompt(read_prompt(folder / PROMPT_FILE).embeddings)
    takes_frames = engine.has_tensor("frames_first")
    chunk = "frames_first"
    while not len(session.pull()):
        if takes_frames:
            session.push(np.full(engine.tensor_info(chunk).shape, 127, np.uint8))
            chunk = "frames"
        else:
            session.generate(1)


if __name__ == "__main__":
    run_to_first_output(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
    print(time.monotonic())
