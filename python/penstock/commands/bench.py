"""Measure every op, or the whole stream, against the machine's floors and the best libraries.

Without names all ops are measured; `e2e` is the whole stream with random weights. Ops are compared with torch (eager,
scaled_dot_product_attention and its backends, cuBLASLt, cuDNN), FlashAttention-3 and flashinfer, where installed.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.runtime.errors import PenstockError

if TYPE_CHECKING:
    from penstock.benchmarks.published import Published
    from penstock.benchmarks.results import Results
    from penstock.benchmarks.variants import Target

HELP = "measure the ops or the whole stream against floors and libraries"
COSTLIEST = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="*", metavar="OP", help="ops, by name; e2e: the whole stream; default: all ops")
    parser.add_argument("--shape", nargs="+", default=[], metavar="SHAPE",
                        help="named, such as 1.3b-480x832-2 or wan-480x832; default: the standard ones")  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU backend and torch; default: all cores")
    parser.add_argument("--passes", type=int, default=2, help="how often the set is measured, which shows its noise")
    parser.add_argument("--seconds", type=float, help="begin nothing new after so much time in a pass")
    parser.add_argument("--all-calls", action="store_true", help=f"every call of an op, not its {COSTLIEST} costliest")
    parser.add_argument("--note", action="append", default=[], help="a line to keep with the figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result file; - prints it")
    parser.add_argument("--beside", metavar="FILE", help="e2e: figures of another program, to put beside ours")
    parser.add_argument("--cold-start", nargs="+", default=[], metavar="SHAPE",
                        help="e2e: streams whose engine directory a fresh process opens as well")  # fmt: skip
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="compare two result files; measures nothing")


def run(options: argparse.Namespace) -> None:
    if options.compare:
        from penstock.benchmarks.compare import comparison_text
        from penstock.benchmarks.results import Results

        print(comparison_text(*(Results.load(path) for path in options.compare)))
        return
    for name, least in (("passes", 1), ("threads", 0)):
        if getattr(options, name) < least:
            raise PenstockError(f"--{name}: expected at least {least}, got {getattr(options, name)}")
    beside = None
    if options.beside:
        from penstock.benchmarks.published import Published

        beside = Published.load(options.beside)
    from penstock.benchmarks.results import REST

    results = measure(options)
    write(results, beside, options.json)
    if REST in results.skipped:
        raise KeyboardInterrupt("what was measured until then is above")
    if not results.rows:
        raise PenstockError("bench: nothing was measured; what was skipped has its reason")


def write(results: Results, beside: Published | None, path: Path | None) -> None:
    if str(path) == "-":
        print(results.to_text(), end="")
        return
    from penstock.benchmarks.tables import results_text

    print(results_text(results, beside))
    if path:
        results.save(path)


def measure(options: argparse.Namespace) -> Results:
    from penstock.benchmarks.run_ops import check_device
    from penstock.benchmarks.variants import Target

    target = Target(check_device(options.device), options.threads)
    if "e2e" not in options.what:
        return measure_ops(options, target)
    if options.what != ["e2e"]:
        raise PenstockError(f"bench: e2e stands alone, got {' '.join(options.what)}")
    from penstock.benchmarks.end_to_end import measure_streams

    return measure_streams(target, options.shape, options.passes, options.seconds, options.note, tell,
                           options.cold_start)  # fmt: skip


def measure_ops(options: argparse.Namespace, target: Target) -> Results:
    from penstock.benchmarks.op_benchmark import find_op, known_ops
    from penstock.benchmarks.results import run_set
    from penstock.benchmarks.run_ops import Skipped, measure_set
    from penstock.benchmarks.shapes import STANDARD, find_shape

    ops = [find_op(name) for name in options.what or known_ops()]
    asked = [find_shape(name) for name in options.shape]
    jobs = [job for op in ops for job in product([op], asked or map(find_shape, STANDARD[op.kind, target.device]))]
    most = None if options.all_calls else COSTLIEST

    def one_pass(peaks):
        skipped = Skipped()
        return measure_set(jobs, target, peaks, skipped, most, options.seconds, tell), skipped.reasons

    return run_set("ops", target, options.passes, one_pass, options.note)


def tell(line: str) -> None:
    """What is being measured, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
